//! A guest which does nothing but pass on: an export for each host call of the table, so that a test chooses the
//! arguments.

use std::{collections::BTreeSet, fmt::Write as _, net::SocketAddr, sync::Arc};

use prewasm_artifact::{Artifact, Import, PREVIEW1, ValueType};
use prewasm_ext_http::{Environment, Host, HostOptions, HostView, imports, link};
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, Val};

/// Pages of the guest's memory, which does not grow.
pub const PAGES: u32 = 2;

/// Where the harness puts what calls point to; tests choose places from `FREE` on.
const DESCRIPTOR: i32 = 0x100;
const ADDRESS: i32 = 0x140;
const IOVEC: i32 = 0x200;
pub const OUT: i32 = 0x300;
pub const OUT2: i32 = 0x310;
#[allow(dead_code, reason = "not every test program needs three")]
pub const OUT3: i32 = 0x320;
pub const FREE: i32 = 0x1000;

pub struct State(Host);

impl HostView for State {
    fn host(&mut self) -> &mut Host {
        &mut self.0
    }
}

pub struct Guest {
    store: Store<State>,
    instance: Instance,
    memory: Memory,
    /// The calls which have succeeded.
    #[allow(dead_code, reason = "not every test program asks")]
    pub succeeded: BTreeSet<String>,
}

/// `sock_accept/3`: the name and the number of parameters; calls of other modules have theirs in front.
pub fn key(import: &Import) -> String {
    let params = import.signature.as_ref().map_or(0, |(params, _)| params.len());
    match import.module.as_str() {
        PREVIEW1 => format!("{}/{params}", import.name),
        module => format!("{module}.{}", import.name),
    }
}

/// One module which imports everything.
pub fn wat() -> String {
    let (mut imports, mut wrappers) = (String::new(), String::new());
    for (index, import) in imports::entries().iter().enumerate() {
        let (params, results) = import.signature.as_ref().expect("a function");
        let list = |types: &[ValueType]| types.iter().map(|ty| format!(" {ty}")).collect::<String>();
        let ty = format!("(param{}) (result{})", list(params), list(results));
        let Import { module, name, .. } = import;
        let _ = writeln!(imports, "(import \"{module}\" \"{name}\" (func $f{index} {ty}))");
        let _ = writeln!(wrappers, "(func (export \"{}\") {ty}", key(import));
        for param in 0..params.len() {
            let _ = writeln!(wrappers, "local.get {param}");
        }
        let _ = writeln!(wrappers, "call $f{index})");
    }
    format!("(module {imports} (memory (export \"memory\") {PAGES} {PAGES}) {wrappers} (func (export \"_start\")))")
}

/// Compiled once, for many instances.
pub struct Template {
    engine: Engine,
    module: Module,
    linker: wasmtime::Linker<State>,
}

impl Template {
    pub fn new() -> Self {
        let artifact = Artifact::from_bytes("everything", wat().into()).expect("valid");
        let engine = Engine::new(&Config::new()).expect("a supported machine");
        let linked = link::prepare(&artifact).expect("every import is provided");
        let module = Module::new(&engine, &linked).expect("valid");
        let linker = link::linker::<State>(&engine).expect("no name twice");
        Self { engine, module, linker }
    }

    pub async fn guest(&self, environment: Environment, options: HostOptions) -> Guest {
        self.guest_of(Host::new(Arc::new(environment), options)).await
    }

    pub async fn guest_of(&self, host: Host) -> Guest {
        let mut store = Store::new(&self.engine, State(host));
        let instance = self.linker.instantiate_async(&mut store, &self.module).await.expect("linked");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        Guest { store, instance, memory, succeeded: BTreeSet::new() }
    }
}

#[allow(dead_code, reason = "no test program uses all of it")]
impl Guest {
    pub fn host(&mut self) -> &mut Host {
        &mut self.store.data_mut().0
    }

    /// Calls, and tells the result: an errno for most, 0 for none.
    pub async fn try_call(&mut self, name: &str, args: &[i64]) -> wasmtime::Result<i32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap_or_else(|| panic!("`{name}` is unknown"));
        let ty = function.ty(&self.store);
        assert_eq!(ty.params().len(), args.len(), "`{name}`");
        let narrow = |value: i64| i32::try_from(value).or(u32::try_from(value).map(u32::cast_signed));
        let args: Vec<_> = ty
            .params()
            .zip(args)
            .map(|(ty, &value)| match ty {
                wasmtime::ValType::I32 => Val::I32(narrow(value).expect("32 bits")),
                _ => Val::I64(value),
            })
            .collect();
        let mut results = vec![Val::I32(0); ty.results().len()];
        function.call_async(&mut self.store, &args, &mut results).await?;
        let result = results.first().and_then(Val::i32).unwrap_or(0);
        if result == 0 {
            self.succeeded.insert(name.to_owned());
        }
        Ok(result)
    }

    pub async fn call(&mut self, name: &str, args: &[i64]) -> i32 {
        self.try_call(name, args).await.unwrap_or_else(|error| panic!("`{name}`: {error:?}"))
    }

    /// Calls, and expects success.
    #[track_caller]
    pub fn ok<'a>(&'a mut self, name: &'a str, args: &'a [i64]) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let errno = self.call(name, args).await;
            assert_eq!(errno, 0, "`{name}` at {caller}");
        }
    }

    pub fn bytes(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    pub fn write(&mut self, at: i32, bytes: &[u8]) {
        let at = usize::try_from(at).expect("a pointer");
        self.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn read(&self, at: i32, length: usize) -> Vec<u8> {
        let at = usize::try_from(at).expect("a pointer");
        self.bytes()[at..at + length].to_vec()
    }

    pub fn u32(&self, at: i32) -> u32 {
        u32::from_le_bytes(self.read(at, 4).try_into().expect("four bytes"))
    }

    pub fn write_u32(&mut self, at: i32, value: u32) {
        self.write(at, &value.to_le_bytes());
    }

    /// One iovec.
    pub fn iovec(&mut self, at: i32, length: u32) -> i64 {
        self.write_u32(IOVEC, at.cast_unsigned());
        self.write_u32(IOVEC + 4, length);
        IOVEC.into()
    }

    /// An address descriptor for these bytes.
    pub fn address(&mut self, bytes: &[u8]) -> i64 {
        self.write_u32(DESCRIPTOR, ADDRESS.cast_unsigned());
        self.write_u32(DESCRIPTOR + 4, u32::try_from(bytes.len()).expect("short"));
        self.write(ADDRESS, bytes);
        DESCRIPTOR.into()
    }

    /// What is in the buffer of the address descriptor.
    pub fn address_bytes(&self, length: usize) -> Vec<u8> {
        self.read(ADDRESS, length)
    }

    /// Opens a socket; 1 is for datagrams, 2 for a stream.
    pub async fn open(&mut self, kind: i64) -> i64 {
        self.ok("sock_open/3", &[1, kind, OUT.into()]).await;
        self.u32(OUT).into()
    }

    pub async fn set_nonblocking(&mut self, fd: i64) {
        self.ok("fd_fdstat_set_flags/2", &[fd, 4]).await;
    }

    pub async fn bind(&mut self, fd: i64, port: u16) -> i32 {
        let address = self.address(&[0, 0, 0, 0]);
        self.call("sock_bind/3", &[fd, address, port.into()]).await
    }

    pub async fn local_port(&mut self, fd: i64) -> u16 {
        let address = self.address(&[0; 16]);
        self.ok("sock_getlocaladdr/4", &[fd, address, OUT.into(), OUT2.into()]).await;
        u16::try_from(self.u32(OUT2)).expect("a port")
    }

    pub async fn connect(&mut self, fd: i64, to: SocketAddr) -> i32 {
        let SocketAddr::V4(to) = to else { panic!("IPv4 only") };
        let address = self.address(&to.ip().octets());
        self.call("sock_connect/3", &[fd, address, to.port().into()]).await
    }

    pub async fn send(&mut self, fd: i64, bytes: &[u8]) -> i32 {
        self.write(FREE, bytes);
        let iovec = self.iovec(FREE, u32::try_from(bytes.len()).expect("short"));
        self.call("sock_send/5", &[fd, iovec, 1, 0, OUT.into()]).await
    }

    /// Receives up to 64 bytes.
    pub async fn receive(&mut self, fd: i64) -> Result<Vec<u8>, i32> {
        let iovec = self.iovec(FREE, 64);
        match self.call("sock_recv/6", &[fd, iovec, 1, 0, OUT.into(), OUT2.into()]).await {
            0 => Ok(self.read(FREE, self.u32(OUT) as usize)),
            errno => Err(errno),
        }
    }

    /// Polls these (kind, descriptor) pairs and a clock; the events as (userdata, errno, kind, flags).
    pub async fn poll(&mut self, interests: &[(u8, i64)], timeout_ms: u64) -> Vec<(u64, u16, u8, u16)> {
        let events = FREE + 0x4000;
        let mut bytes = vec![0; 48 * (interests.len() + 1)];
        for (index, (kind, fd)) in interests.iter().enumerate() {
            let subscription = &mut bytes[48 * index..48 * (index + 1)];
            subscription[0] = u8::try_from(index).expect("few");
            subscription[8] = *kind;
            subscription[16..20].copy_from_slice(&u32::try_from(*fd).expect("an fd").to_le_bytes());
        }
        let clock = &mut bytes[48 * interests.len()..];
        clock[0] = u8::try_from(interests.len()).expect("few");
        clock[16] = 1;
        clock[24..32].copy_from_slice(&(timeout_ms * 1_000_000).to_le_bytes());
        self.write(FREE, &bytes);
        let count = i64::try_from(interests.len() + 1).expect("few");
        self.ok("poll_oneoff/4", &[FREE.into(), events.into(), count, OUT.into()]).await;
        let half = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
        let tell = |event: &[u8]| (u64::from(event[0]), half(&event[8..]), event[10], half(&event[24..]));
        self.read(events, 32 * self.u32(OUT) as usize).chunks(32).map(tell).collect()
    }
}
