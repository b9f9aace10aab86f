//! Runs linked programs without a component around them: host functions stand for the shim and for the adapter, and pass
//! lists as the canonical ABI does.

use std::sync::LazyLock;

use prewasm_artifact::Artifact;
use wasmtime::{
    Caller, Config, Engine, Extern, Func, FuncType, Instance, Memory, Module, Result, Store, StoreLimits,
    StoreLimitsBuilder, Val,
};

use crate::port::{
    PortOptions,
    link::link,
    plan::{HANDLER, plan},
};

/// What the host is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// As in `sockets.recv`, and `wasi.fd_read`.
    pub(super) name: String,
    /// Without the address of a return area.
    pub(super) numbers: Vec<i64>,
    pub(super) lists: Vec<Vec<u8>>,
}

/// What the host answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Number(i64),
    /// A list, or a result with one.
    List(Vec<u8>),
    /// A result with an error.
    Error(u32),
    /// Success of preview 1, which stores this.
    Store(i64, Vec<u8>),
    /// The adapter takes a page for itself, and writes to all of it.
    AdapterPage,
}

/// What the adapter writes.
pub(super) const ADAPTER: u8 = 0xa5;

/// The host.
pub(super) struct Host {
    pub(super) calls: Vec<Call>,
    answer: Box<dyn FnMut(&Call) -> Answer + Send>,
    limits: StoreLimits,
}

/// Functions with lists: which pairs of arguments are some, and whether the last is the address of a return area.
const LISTS: [(&str, &[usize], bool); 17] = [
    ("sockets.bind", &[1], false),
    ("sockets.connect", &[1], false),
    ("sockets.recv", &[], true),
    ("sockets.send", &[1], false),
    ("sockets.get-option", &[], true),
    ("sockets.set-option", &[3], false),
    ("sockets.look-up", &[0, 2], false),
    ("sockets.poll", &[0], true),
    ("plugin.send-data", &[0, 3], false),
    ("plugin.send-data-until-nul", &[0, 3], false),
    ("plugin.received", &[], true),
    ("codec.open", &[1], false),
    ("codec.write-raw", &[1], false),
    ("codec.read-raw", &[], true),
    ("codec.write-tls", &[], true),
    ("codec.read-tls", &[1], false),
    ("wasi.none", &[], false),
];

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_function_references(true).wasm_gc(true).wasm_exceptions(true).wasm_tail_call(true);
    Engine::new(&config).expect("a valid configuration")
});

/// A linked and compiled program.
pub(super) struct Program(Module);

/// An instance of one.
pub(super) struct Running {
    pub(super) store: Store<Host>,
    pub(super) instance: Instance,
}

/// Links a program, in whatever format it is.
pub(super) fn linked(program: impl Into<Vec<u8>>, options: &PortOptions) -> Vec<u8> {
    let artifact = Artifact::from_bytes("program", program.into()).expect("a valid program");
    let plan = plan(&artifact, options).expect("nothing stands in the way");
    link(artifact.bytes(), &plan).expect("it can be linked")
}

impl Program {
    pub(super) fn new(program: impl Into<Vec<u8>>) -> Self {
        Self::of(&linked(program, &PortOptions::default()))
    }

    pub(super) fn of(linked: &[u8]) -> Self {
        Self(Module::new(&ENGINE, linked).expect("what was linked is valid"))
    }

    pub(super) fn start(&self, answer: impl FnMut(&Call) -> Answer + Send + 'static) -> Running {
        self.try_start(answer).expect("it can be instantiated")
    }

    pub(super) fn try_start(&self, answer: impl FnMut(&Call) -> Answer + Send + 'static) -> Result<Running> {
        // Programs which nobody wrote make arrays of gigabytes.
        let limits = StoreLimitsBuilder::new().memory_size(16 << 20).build();
        let mut store = Store::new(&ENGINE, Host { calls: Vec::new(), answer: Box::new(answer), limits });
        store.limiter(|host| &mut host.limits);
        let imports: Vec<_> = self
            .0
            .imports()
            .map(|import| {
                let interface = import.module().trim_start_matches("prewasm:port/").trim_end_matches("@0.1.0");
                let interface = if interface == "wasi_snapshot_preview1" { "wasi" } else { interface };
                let ty = import.ty().unwrap_func().clone();
                host_function(&mut store, format!("{interface}.{}", import.name()), ty)
            })
            .collect();
        let instance = Instance::new(&mut store, &self.0, &imports)?;
        Ok(Running { store, instance })
    }
}

fn host_function(store: &mut Store<Host>, name: String, ty: FuncType) -> Extern {
    let result = ty.results().next();
    let (_, lists, has_area) = LISTS.into_iter().find(|(known, ..)| *known == name).unwrap_or(("", &[], false));
    let function = Func::new(store, ty, move |mut caller, given, results| {
        let mut given: Vec<i64> = given.iter().map(number).collect();
        let area = has_area.then(|| given.pop().expect("an address"));
        let call = lift(&mut caller, &name, &given, lists)?;
        let host = caller.data_mut();
        host.calls.push(call.clone());
        let value = match ((host.answer)(&call), area) {
            (Answer::AdapterPage, _) => {
                let at = adapter_page(&mut caller)?;
                memory(&mut caller).write(&mut caller, at, &[ADAPTER; 0x10000])?;
                0
            }
            (Answer::Store(at, bytes), _) => {
                memory(&mut caller).write(&mut caller, usize::try_from(at)?, &bytes)?;
                0
            }
            (Answer::Number(value), None) => value,
            (answer, Some(area)) => {
                lower(&mut caller, usize::try_from(area)?, answer, name == "plugin.received")?;
                0
            }
            (answer, None) => panic!("{answer:?} is no answer to {call:?}"),
        };
        if let (Some(ty), [result]) = (&result, results) {
            *result = match ty {
                wasmtime::ValType::I64 => Val::I64(value),
                _ => Val::I32(i32::try_from(value)?),
            };
        }
        Ok(())
    });
    function.into()
}

fn number(value: &Val) -> i64 {
    match value {
        // Addresses and sizes have no sign, and few numbers need one.
        Val::I32(value) => value.cast_unsigned().into(),
        Val::I64(value) => *value,
        _ => panic!("no import has other types"),
    }
}

fn lift(caller: &mut Caller<'_, Host>, name: &str, given: &[i64], lists: &[usize]) -> Result<Call> {
    let mut call = Call { name: name.to_owned(), numbers: Vec::new(), lists: Vec::new() };
    let mut index = 0;
    while index < given.len() {
        if lists.contains(&index) {
            let mut bytes = vec![0; usize::try_from(given[index + 1])?];
            memory(caller).read(&mut *caller, usize::try_from(given[index])?, &mut bytes)?;
            call.lists.push(bytes);
            index += 2;
        } else {
            call.numbers.push(given[index]);
            index += 1;
        }
    }
    Ok(call)
}

fn lower(caller: &mut Caller<'_, Host>, area: usize, answer: Answer, is_plain: bool) -> Result<()> {
    let memory = memory(caller);
    let at = if is_plain { area } else { area + 4 };
    assert_eq!(area % 4, 0, "a return area is aligned");
    match answer {
        Answer::List(bytes) => {
            let allocate = caller.get_export("cabi_import_realloc").and_then(Extern::into_func).expect("an export");
            let allocate = allocate.typed::<(i32, i32, i32, i32), i32>(&mut *caller)?;
            let to = allocate.call(&mut *caller, (0, 0, 1, i32::try_from(bytes.len())?))?;
            memory.write(&mut *caller, to.cast_unsigned() as usize, &bytes)?;
            if !is_plain {
                memory.write(&mut *caller, area, &[0])?;
            }
            memory.write(&mut *caller, at, &to.to_le_bytes())?;
            memory.write(&mut *caller, at + 4, &i32::try_from(bytes.len())?.to_le_bytes())?;
        }
        Answer::Error(error) => {
            memory.write(&mut *caller, area, &[1])?;
            memory.write(&mut *caller, at, &error.to_le_bytes())?;
        }
        answer => panic!("{answer:?} has no list"),
    }
    Ok(())
}

fn adapter_page(caller: &mut Caller<'_, Host>) -> Result<usize> {
    let allocate = caller.get_export("cabi_realloc_adapter").and_then(Extern::into_func).expect("an export");
    let allocate = allocate.typed::<(i32, i32, i32, i32), u32>(&mut *caller)?;
    Ok(allocate.call(caller, (0, 0, 8, 0x10000))? as usize)
}

fn memory(caller: &mut Caller<'_, Host>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).expect("an export")
}

impl Running {
    /// One request.
    pub(super) fn handle(&mut self) -> Result<()> {
        let handle = self.instance.get_typed_func::<(i32, i32), ()>(&mut self.store, HANDLER)?;
        handle.call(&mut self.store, (1, 2))
    }

    pub(super) fn memory(&mut self) -> &mut [u8] {
        let memory = self.instance.get_memory(&mut self.store, "memory").expect("an export");
        memory.data_mut(&mut self.store)
    }

    /// What was asked since the last time.
    pub(super) fn calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.store.data_mut().calls)
    }
}
