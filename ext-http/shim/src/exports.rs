//! The calls of a ported program's trampolines.

use crate::{
    address,
    bindings::{
        exports::prewasm::port::{codec, plugin, server, setup, sockets},
        wasi::http::types::{IncomingRequest, ResponseOutparam},
    },
    codec::CodecError,
    errno::{Errno, Failure, status},
    plugin::until_nul,
    question::{self, Question},
    server::Pending,
    setup::Frozen,
    state::{reset, with},
};

struct Shim;

// Other linkers than that for Wasm do not take the names.
#[cfg(target_arch = "wasm32")]
crate::bindings::export!(Shim with_types_in crate::bindings);

/// A number, as the interface has it.
fn number(result: Result<i32, Errno>) -> i32 {
    result.unwrap_or_else(Errno::negative)
}

fn codec_number(result: Result<i32, CodecError>) -> i32 {
    result.unwrap_or_else(CodecError::code)
}

fn codec_bytes(result: Result<Vec<u8>, CodecError>) -> Result<Vec<u8>, u32> {
    result.map_err(|error| error.code().unsigned_abs())
}

fn size(max: u32) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
}

impl sockets::Guest for Shim {
    fn open(family: i32, kind: i32) -> i32 {
        with(|run| number(run.sockets.open(family, kind)))
    }

    fn bind(fd: i32, address: Vec<u8>, port: u32) -> i32 {
        with(|run| status(address::read(&address, port).and_then(|address| run.sockets.bind(fd, address))))
    }

    fn listen(fd: i32, _backlog: i32) -> i32 {
        with(|run| status(run.sockets.listen(fd)))
    }

    fn accept(fd: i32, flags: u32) -> i32 {
        with(|run| run.accept(fd, flags).unwrap_or_else(Failure::negative))
    }

    fn connect(fd: i32, address: Vec<u8>, port: u32) -> i32 {
        with(|run| status(address::read(&address, port).and_then(|address| run.connect(fd, address))))
    }

    fn recv(fd: i32, max: u32, flags: u32) -> Result<Vec<u8>, u32> {
        with(|run| run.receive(fd, max, flags).map_err(|errno| errno.code().into()))
    }

    fn send(fd: i32, data: Vec<u8>, flags: u32) -> i32 {
        let sent = with(|run| run.send(fd, &data, flags));
        number(sent.and_then(|sent| i32::try_from(sent).map_err(|_| Errno::Inval)))
    }

    fn shutdown(fd: i32, how: u32) -> i32 {
        with(|run| {
            let result = run.sockets.shutdown(fd, how);
            run.advance();
            status(result)
        })
    }

    fn close(fd: i32) -> i32 {
        with(|run| status(run.close(fd)))
    }

    fn renumber(from: i32, to: i32) -> i32 {
        with(|run| status(run.renumber(from, to)))
    }

    fn get_flags(fd: i32) -> i32 {
        with(|run| number(run.sockets.flags(fd)))
    }

    fn set_flags(fd: i32, flags: u32) -> i32 {
        with(|run| status(run.sockets.set_flags(fd, flags)))
    }

    fn get_option(fd: i32, level: i32, name: i32, max: u32) -> Result<Vec<u8>, u32> {
        let value = with(|run| {
            run.advance();
            run.sockets.option(fd, level, name)
        });
        let mut value = value.map_err(|errno| u32::from(errno.code()))?;
        value.truncate(size(max));
        Ok(value)
    }

    fn set_option(fd: i32, level: i32, name: i32, value: Vec<u8>) -> i32 {
        with(|run| status(run.sockets.set_option(fd, level, name, &value)))
    }

    fn get_address(fd: i32, side: u32, word: u32) -> i64 {
        match with(|run| run.sockets.address(fd, side)) {
            Ok(found) => address::word(found, word),
            Err(errno) => errno.negative().into(),
        }
    }

    fn look_up(node: Vec<u8>, service: Vec<u8>, flags: u32, family: u32, kind: u32, max: u32) -> i32 {
        let question = Question { node: &node, service: &service, flags, family, kind, max };
        with(|run| {
            run.found = None;
            number(question::answer(&question, &mut run.names).map(|found| {
                run.found = Some(found);
                1
            }))
        })
    }

    fn found(index: u32, word: u32) -> u64 {
        with(|run| run.found.filter(|_| index == 0).map_or(0, |found| found.word(word)))
    }

    fn poll(subscriptions: Vec<u8>) -> Result<Vec<u8>, u32> {
        with(|run| run.poll(&subscriptions).map_err(Failure::positive))
    }
}

impl plugin::Guest for Shim {
    fn send_data(host: Vec<u8>, port: u32, request: Vec<u8>) {
        with(|run| run.send_data(&host, port, &request));
    }

    fn send_data_until_nul(host: Vec<u8>, port: u32, request: Vec<u8>) {
        with(|run| run.send_data(&host, port, until_nul(&request)));
    }

    fn received_length() -> u32 {
        // Bounded by what is kept.
        with(|run| u32::try_from(run.answer.len()).unwrap_or(u32::MAX))
    }

    fn received() -> Vec<u8> {
        with(|run| run.answer.clone())
    }
}

impl codec::Guest for Shim {
    fn open(config: i32, name: Vec<u8>) -> i32 {
        with(|run| codec_number(run.codecs.open(config, &name)))
    }

    fn close(codec: i32) {
        with(|run| run.codecs.close(codec));
    }

    fn is_handshaking(codec: i32) -> i32 {
        with(|run| codec_number(run.codecs.is_handshaking(codec)))
    }

    fn wants(codec: i32) -> i32 {
        with(|run| codec_number(run.codecs.wants(codec)))
    }

    fn send_close_notify(codec: i32) -> i32 {
        with(|run| codec_number(run.codecs.send_close_notify(codec)))
    }

    fn process(codec: i32) -> i32 {
        with(|run| codec_number(run.codecs.process(codec)))
    }

    fn state(codec: i32, word: u32) -> u32 {
        with(|run| run.codecs.state(codec, word))
    }

    fn write_raw(codec: i32, plaintext: Vec<u8>) -> i32 {
        with(|run| codec_number(run.codecs.write_raw(codec, &plaintext)))
    }

    fn read_raw(codec: i32, max: u32) -> Result<Vec<u8>, u32> {
        with(|run| codec_bytes(run.codecs.read_raw(codec, size(max))))
    }

    fn write_tls(codec: i32, max: u32) -> Result<Vec<u8>, u32> {
        with(|run| codec_bytes(run.codecs.write_tls(codec, size(max))))
    }

    fn read_tls(codec: i32, records: Vec<u8>) -> i32 {
        with(|run| codec_number(run.codecs.read_tls(codec, &records)))
    }
}

impl setup::Guest for Shim {
    fn options(bits: u32) {
        with(|run| run.configure(bits));
    }

    fn socket(fd: i32, state: u32, family: u32, kind: u32, flags: u32, port: u32, first: u64, second: u64) {
        with(|run| run.thaw(&Frozen { fd, state, family, kind, flags, port, words: (first, second) }));
    }

    fn clock(monotonic: u64, polling_since: u64) -> i64 {
        with(|run| run.clock.resume(monotonic, polling_since))
    }
}

impl server::Guest for Shim {
    fn begin(request: IncomingRequest, response: ResponseOutparam) {
        reset();
        with(|run| run.pending = Some(Pending::new(request, response)));
    }

    fn end() {
        with(|run| run.end());
        reset();
    }
}
