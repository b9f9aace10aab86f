//! Components with an init function.

#[path = "harness/building.rs"]
#[allow(dead_code, reason = "no test program uses all of it")]
mod building;

use std::time::Duration;

use building::{constructs, failure, objections, snapshot, snapshot_with};
use prewasm_artifact::Artifact;
use prewasm_snapshot::{BuildError, InitExport, InitializeError, Objection, Options, RunError};
use wasmtime::{Engine, Store};

const COMPONENT: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $g (mut i32) (i32.const 1))
        (func (export "init") (global.set $g (i32.const 42)) (i32.store (i32.const 8) (i32.const 7)))
        (func (export "get") (result i32) (i32.add (global.get $g) (i32.load (i32.const 8)))))
    (core instance $i (instantiate $m))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result s32) (canon lift (core func $i "get"))))"#;

#[test]
fn a_component_is_initialized() {
    use wasmtime::component::{Component, Linker};

    let made = snapshot(COMPONENT).expect("initializes");
    assert_eq!(snapshot(COMPONENT).expect("initializes").wasm, made.wasm);
    let engine = Engine::default();
    let component = Component::new(&engine, &made.wasm).expect("valid");
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate(&mut store, &component).expect("no imports");
    assert!(instance.get_func(&mut store, "wizer-initialize").is_none());
    let get = instance.get_typed_func::<(), (i32,)>(&mut store, "get").expect("exported");
    assert_eq!(get.call(&mut store, ()).expect("no trap"), (49,));
    let artifact = Artifact::from_bytes("out", made.wasm).expect("valid");
    assert!(artifact.provenance().is_some());
}

#[test]
fn a_component_which_cannot_be_recorded_is_an_error_and_no_panic() {
    // No page left below the maximum.
    let full = COMPONENT.replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1 1)");
    let result = snapshot(&full);
    assert!(matches!(result, Err(BuildError::Initialize { source: InitializeError::Record(_), .. })), "{result:?}");
    let closed = r#"(component
        (core module $m (memory 1) (func $start) (start $start))
        (core instance $i (instantiate $m))
        (core module $n (func (export "f")))
        (core instance $j (instantiate $n))
        (core instance $k (instantiate $n))
        (func (export "wizer-initialize") (canon lift (core func $j "f"))))"#;
    assert_eq!(
        constructs(closed),
        ["a module with a memory or mutable globals, but without exports", "a module which is instantiated twice"]
    );
    let referring = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (export $init "wizer-initialize" (func $f))
        (export "again" (func $init)))"#;
    assert_eq!(constructs(referring), ["a reference to the export `wizer-initialize`"]);
    snapshot_with(referring, &Options { init_export: InitExport::Keep, ..Options::default() }).expect("kept");
}

#[test]
fn a_component_without_init_or_with_foreign_imports_is_refused() {
    let found = objections(snapshot(r#"(component (import "my:own/thing" (instance)))"#));
    assert!(
        matches!(&found[..], [Objection::NoInit { .. }, Objection::ComponentImport { import }] if import == "my:own/thing"),
        "{found:?}"
    );
}

#[test]
fn a_components_failures_are_told_like_a_modules() {
    let endless = COMPONENT.replace("(func (export \"init\")", "(func (export \"init\") (loop (br 0))");
    let mut options = Options::default();
    options.limits.timeout = Duration::from_millis(50);
    let error = failure(snapshot_with(&endless, &options));
    assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    let trapping = COMPONENT.replace("(func (export \"init\")", "(func (export \"init\") unreachable");
    let error = failure(snapshot(&trapping));
    assert!(matches!(&error, RunError::Trapped { function, .. } if function == "wizer-initialize"), "{error}");
}

#[test]
fn what_is_not_provided_may_be_imported_but_not_called() {
    let calling = |called: &str| {
        format!(
            r#"(component
                (import "wasi:http/types@0.2.4" (instance $http (export "fields" (type (sub resource))) (export "f" (func))))
                (import "wasi:cli/environment@0.2.0" (instance $cli (export "initial-cwd" (func (result (option string))))))
                (core func $http (canon lower (func $http "f")))
                (core module $n (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
                (core instance $j (instantiate $n))
                (core func $cli (canon lower (func $cli "initial-cwd")
                    (memory $j "memory") (realloc (func $j "realloc"))))
                (core module $m
                    (import "host" "http" (func $http))
                    (import "host" "cli" (func $cli (param i32)))
                    (func (export "init") {called}))
                (core instance $i (instantiate $m (with "host" (instance
                    (export "http" (func $http)) (export "cli" (func $cli))))))
                (func (export "wizer-initialize") (canon lift (core func $i "init"))))"#
        )
    };
    snapshot(&calling("(call $cli (i32.const 0))")).expect("any release of WASI 0.2 is provided");
    match failure(snapshot(&calling("(call $http)"))) {
        RunError::Trapped { source, .. } => {
            let reason = source.root_cause().to_string();
            assert_eq!(reason, "`wasi:http/types@0.2.4#f` is not provided while a snapshot is made");
        }
        other => panic!("{other}"),
    }
}
