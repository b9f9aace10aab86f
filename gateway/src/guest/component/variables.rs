//! What a component reads as its configuration: `wasi:config/store`, and Spin's variables.
//!
//! All of these give out the same values. The functions hold them, so that store data need not.

use std::{collections::BTreeMap, sync::Arc};

use wasmtime::component::{ComponentType, Lift, Linker, Lower};

/// The interface of Spin, and that of `wasi:config` in the version which is proposed and in the draft which Spin's SDKs
/// use.
pub(super) const INTERFACES: [&str; 3] = [SPIN, STORES[0], STORES[1]];
const SPIN: &str = "fermyon:spin/variables@2.0.0";
const STORES: [&str; 2] = ["wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-draft-2024-09-27"];

/// An app's variables.
type Variables = Arc<BTreeMap<String, String>>;

/// Why there is no value, as Spin has it. We know of one reason.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
enum SpinError {
    #[component(name = "invalid-name")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    Provider(String),
    #[component(name = "other")]
    Other(String),
}

/// Why there is no value, as `wasi:config` has it: we always know.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
enum StoreError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

/// Offers the variables to a component.
pub(crate) fn add_to_linker<T: 'static>(linker: &mut Linker<T>, variables: &Variables) -> wasmtime::Result<()> {
    let values = Arc::clone(variables);
    linker.instance(SPIN)?.func_wrap("get", move |_, (name,): (String,)| {
        let value = values.get(&name).cloned();
        Ok((value.ok_or_else(|| SpinError::Undefined(format!("no variable `{name}`"))),))
    })?;
    for store in STORES {
        let mut store = linker.instance(store)?;
        let values = Arc::clone(variables);
        store.func_wrap("get", move |_, (key,): (String,)| Ok((Ok::<_, StoreError>(values.get(&key).cloned()),)))?;
        let values = Arc::clone(variables);
        store.func_wrap("get-all", move |_, (): ()| {
            let all: Vec<(String, String)> = values.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            Ok((Ok::<_, StoreError>(all),))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasmtime::{
        Engine, Store,
        component::{Component, Instance},
    };

    use super::*;

    /// Asks for variables, and passes on what it is told.
    const COMPONENT: &str = r#"(component
        (type $spin (instance
            (type $e (variant
                (case "invalid-name" string) (case "undefined" string) (case "provider" string) (case "other" string)))
            (export "error" (type $error (eq $e)))
            (export "get" (func (param "name" string) (result (result string (error $error)))))))
        (type $store (instance
            (type $e (variant (case "upstream" string) (case "io" string)))
            (export "error" (type $error (eq $e)))
            (export "get" (func (param "key" string) (result (result (option string) (error $error)))))
            (export "get-all" (func (result (result (list (tuple string string)) (error $error)))))))
        (import "fermyon:spin/variables@2.0.0" (instance $spin (type $spin)))
        (import "wasi:config/store@0.2.0-rc.1" (instance $rc (type $store)))
        (import "wasi:config/store@0.2.0-draft-2024-09-27" (instance $draft (type $store)))
        (core module $memory
            (memory (export "memory") 1)
            (global $top (mut i32) (i32.const 1024))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.get $top)
                (global.set $top (i32.add (global.get $top) (local.get 3)))))
        (core instance $m (instantiate $memory))
        (alias core export $m "memory" (core memory $mem))
        (alias core export $m "realloc" (core func $realloc))
        (core func $spin-get (canon lower (func $spin "get") (memory $mem) (realloc $realloc)))
        (core func $rc-get (canon lower (func $rc "get") (memory $mem) (realloc $realloc)))
        (core func $draft-all (canon lower (func $draft "get-all") (memory $mem) (realloc $realloc)))
        (core module $calls
            (import "host" "spin" (func $spin (param i32 i32 i32)))
            (import "host" "rc" (func $rc (param i32 i32 i32)))
            (import "host" "all" (func $all (param i32)))
            (func (export "spin") (param i32 i32) (result i32)
                (call $spin (local.get 0) (local.get 1) (i32.const 64)) (i32.const 64))
            (func (export "rc") (param i32 i32) (result i32)
                (call $rc (local.get 0) (local.get 1) (i32.const 64)) (i32.const 64))
            (func (export "all") (result i32) (call $all (i32.const 64)) (i32.const 64)))
        (core instance $c (instantiate $calls (with "host" (instance
            (export "spin" (func $spin-get)) (export "rc" (func $rc-get)) (export "all" (func $draft-all))))))
        (alias export $spin "error" (type $spin-error))
        (alias export $rc "error" (type $rc-error))
        (func (export "spin") (param "name" string) (result (result string (error $spin-error)))
            (canon lift (core func $c "spin") (memory $mem) (realloc $realloc)))
        (func (export "rc") (param "key" string) (result (result (option string) (error $rc-error)))
            (canon lift (core func $c "rc") (memory $mem) (realloc $realloc)))
        (func (export "all") (result (result (list (tuple string string)) (error $rc-error)))
            (canon lift (core func $c "all") (memory $mem) (realloc $realloc))))"#;

    fn instantiate() -> (Store<()>, Instance) {
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str(COMPONENT).expect("valid text")).expect("valid");
        let mut linker = Linker::new(&engine);
        let variables = BTreeMap::from([("greeting", "hi"), ("token", "hunter2")]);
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        add_to_linker(&mut linker, &Arc::new(variables)).expect("linked");
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &component).expect("instantiated");
        (store, instance)
    }

    #[test]
    fn a_component_finds_its_variables_under_both_names() {
        let (mut store, instance) = instantiate();
        let spin = instance.get_typed_func::<(&str,), (Result<String, SpinError>,)>(&mut store, "spin");
        let spin = spin.expect("of this type");
        assert_eq!(spin.call(&mut store, ("greeting",)).expect("no trap"), (Ok("hi".to_owned()),));
        let (mut store, instance) = instantiate();
        let get = instance.get_typed_func::<(&str,), (Result<Option<String>, StoreError>,)>(&mut store, "rc");
        let get = get.expect("of this type");
        assert_eq!(get.call(&mut store, ("token",)).expect("no trap"), (Ok(Some("hunter2".to_owned())),));
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        let (mut store, instance) = instantiate();
        let spin = instance.get_typed_func::<(&str,), (Result<String, SpinError>,)>(&mut store, "spin");
        let (answer,) = spin.expect("of this type").call(&mut store, ("nothing",)).expect("no trap");
        assert_eq!(answer, Err(SpinError::Undefined("no variable `nothing`".to_owned())));
        let (mut store, instance) = instantiate();
        let all = instance.get_typed_func::<(), (Result<Vec<(String, String)>, StoreError>,)>(&mut store, "all");
        let (answer,) = all.expect("of this type").call(&mut store, ()).expect("no trap");
        assert_eq!(answer.map(|all| all.len()), Ok(2));
    }
}
