//! Whoever watches a guest hears of each host call before it has any effect.

#[path = "harness/guest.rs"]
#[allow(dead_code, reason = "only what every call of the table looks like")]
mod guest;

use std::sync::Arc;

use prewasm_artifact::{Artifact, Import, ValueType};
use prewasm_ext_http::{
    Clock, Environment, Host, HostOptions, HostView, Inbound, Network, Outbound, Upcoming, imports, link,
    virtual_inbound,
};
use wasmtime::{Caller, Config, Engine, Instance, Module, Store, Val};

use guest::{key, wat};

/// What ends each call.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Stopped;

/// The end of a server, with what was seen before.
#[derive(Debug, thiserror::Error)]
#[error("served out after {0}")]
struct Last(String);

#[derive(Debug)]
struct Seen {
    module: String,
    name: String,
    arguments: String,
    has_effect: bool,
    imports: Vec<usize>,
}

/// Store data which sees all calls, and lets those pass that `passes` says.
struct Watcher {
    host: Host,
    imports: Vec<Import>,
    passes: bool,
    seen: Vec<Seen>,
}

impl HostView for Watcher {
    const WATCHES: bool = true;

    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn before(caller: &mut Caller<'_, Self>, call: &Upcoming<'_>) -> wasmtime::Result<()> {
        let watcher = caller.data_mut();
        let of = |(index, import)| call.is(import).then_some(index);
        watcher.seen.push(Seen {
            module: call.module().to_owned(),
            name: call.name().to_owned(),
            arguments: format!("{:?}", call.arguments()),
            has_effect: call.has_effect(),
            imports: watcher.imports.iter().enumerate().filter_map(of).collect(),
        });
        if watcher.passes { Ok(()) } else { Err(Stopped.into()) }
    }

    fn served_out(caller: &mut Caller<'_, Self>) -> wasmtime::Result<()> {
        let last = caller.data().seen.last().expect("the call that waits was seen");
        Err(Last(last.name.clone()).into())
    }
}

async fn start(wat: String, inbound: Inbound, passes: bool) -> (Store<Watcher>, Instance) {
    let artifact = Artifact::from_bytes("watched", wat.into()).expect("valid");
    let engine = Engine::new(&Config::new()).expect("a supported machine");
    let module = Module::new(&engine, link::prepare(&artifact).expect("known imports")).expect("valid");
    let network = Network { inbound, outbound: Arc::new(Outbound::default()) };
    // A clock that stands still makes states comparable.
    let environment = Environment { clock: Clock::Fixed(0), ..Environment::default() };
    let host = Host::new(Arc::new(environment), HostOptions::silent(network));
    let watcher = Watcher { host, imports: artifact.imports().to_vec(), passes, seen: Vec::new() };
    let mut store = Store::new(&engine, watcher);
    let linker = link::linker::<Watcher>(&engine).expect("no name twice");
    let instance = linker.instantiate_async(&mut store, &module).await.expect("linked");
    (store, instance)
}

#[tokio::test]
async fn every_call_of_the_table_is_announced_with_its_arguments_before_it_does_anything() {
    let (mut store, instance) = start(wat(), Inbound::Denied, false).await;
    let memory = instance.get_memory(&mut store, "memory").expect("exported");
    let untouched = store.data_mut().host().freeze().expect("nothing is open");
    for (index, import) in imports::entries().iter().enumerate() {
        let (params, results) = import.signature.as_ref().expect("a function");
        // Pointers out of bounds and descriptors which do not exist: had the call begun, there would be an errno.
        let arguments: Vec<_> = (0..)
            .zip(params)
            .map(|(place, ty)| match ty {
                ValueType::I64 => Val::I64(-0x1_0000_0000 - place),
                _ => Val::I32(-1 - i32::try_from(place).expect("few")),
            })
            .collect();
        let mut results = vec![Val::I32(0); results.len()];
        let function = instance.get_func(&mut store, &key(import)).expect("exported");
        let error = function.call_async(&mut store, &arguments, &mut results).await.expect_err("it is stopped");
        assert!(error.is::<Stopped>(), "{import}: {error:?}");
        let seen = store.data_mut().seen.pop().expect("it was seen");
        assert!(store.data().seen.is_empty(), "{import}: seen once");
        assert_eq!((seen.module.as_str(), seen.name.as_str()), (import.module.as_str(), import.name.as_str()));
        assert_eq!(seen.arguments, format!("{arguments:?}"), "{import}");
        assert_eq!(seen.imports, [index], "{import} is told from those of other types");
    }
    assert!(memory.data(&store).iter().all(|byte| *byte == 0), "nothing was written");
    let state = store.data_mut().host().freeze().expect("nothing is open");
    assert_eq!(state, untouched);
}

/// The calls of which the contract says that they have no effect.
const PURE: [&str; 12] = [
    "args_get/2",
    "args_sizes_get/2",
    "clock_res_get/2",
    "clock_time_get/3",
    "environ_get/2",
    "environ_sizes_get/2",
    "fd_fdstat_get/2",
    "fd_prestat_dir_name/3",
    "fd_prestat_get/2",
    "prewasm:marker.here",
    "random_get/2",
    "sched_yield/0",
];

#[tokio::test]
async fn only_the_calls_named_here_have_no_effect() {
    let (mut store, instance) = start(wat(), Inbound::Denied, false).await;
    let mut pure = Vec::new();
    for import in imports::entries() {
        let function = instance.get_func(&mut store, &key(&import)).expect("exported");
        let ty = function.ty(&store);
        let arguments: Vec<_> = ty.params().map(|ty| if ty.is_i64() { Val::I64(0) } else { Val::I32(0) }).collect();
        let mut results = vec![Val::I32(0); ty.results().len()];
        function.call_async(&mut store, &arguments, &mut results).await.expect_err("it is stopped");
        if !store.data().seen.last().expect("it was seen").has_effect {
            pure.push(key(&import));
        }
    }
    pure.sort();
    assert_eq!(pure, PURE);
}

/// Listens, and accepts again and again.
const SERVER: &str = r#"(module
    (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $open (i32.const 1) (i32.const 2) (i32.const 0)))
        (drop (call $listen (i32.const 512) (i32.const 8)))
        (loop (drop (call $accept (i32.const 512) (i32.const 4))) (br 0))))"#;

#[tokio::test]
async fn a_server_that_has_served_out_ends_as_its_watcher_says() {
    let (inbound, connector) = virtual_inbound();
    connector.close();
    let (mut store, instance) = start(SERVER.to_owned(), Inbound::Virtual(inbound), true).await;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("exported");
    let error = start.call_async(&mut store, ()).await.expect_err("nobody comes");
    assert_eq!(error.downcast_ref::<Last>().expect("ours").0, "sock_accept");
    let names: Vec<_> = store.data().seen.iter().map(|seen| seen.name.as_str()).collect();
    assert_eq!(names, ["sock_open", "sock_listen", "sock_accept"]);
    let state = store.data_mut().host().freeze().expect("a listener is no objection");
    assert_eq!(state.listeners().count(), 1);
}
