//! One call: what the program's memory holds, what the shim is asked and answers, what is stored, and the result.

use super::{
    driver::Driver,
    harness::{Answer, Call},
};

/// Where arguments and results lie.
pub(super) const ADDRESS: usize = 0x100;
pub(super) const BUFFER: usize = 0x200;
pub(super) const OUT: usize = 0x300;
pub(super) const OUT_2: usize = 0x304;
pub(super) const OUT_3: usize = 0x308;
pub(super) const PARTS: usize = 0x400;

#[derive(Clone)]
pub(super) struct Case {
    call: String,
    arguments: Vec<usize>,
    finds: Vec<(usize, Vec<u8>)>,
    asks: Vec<Call>,
    answers: Vec<Answer>,
    stores: Vec<(usize, Vec<u8>)>,
    result: i64,
}

pub(super) fn call(name: &str, arguments: &[usize]) -> Case {
    Case {
        call: name.to_owned(),
        arguments: arguments.to_vec(),
        finds: Vec::new(),
        asks: Vec::new(),
        answers: Vec::new(),
        stores: Vec::new(),
        result: 0,
    }
}

impl Case {
    pub(super) fn finds(mut self, at: usize, bytes: impl Into<Vec<u8>>) -> Self {
        self.finds.push((at, bytes.into()));
        self
    }

    /// The descriptor of an address, which is in the buffer.
    pub(super) fn finds_address(self, room: u32) -> Self {
        self.finds(ADDRESS, words(&[word(BUFFER), room]))
    }

    pub(super) fn asks(self, name: &str, numbers: &[i64], answer: Answer) -> Self {
        self.asks_with(name, numbers, &[], answer)
    }

    pub(super) fn asks_with(mut self, name: &str, numbers: &[i64], lists: &[&[u8]], answer: Answer) -> Self {
        let lists = lists.iter().map(|list| list.to_vec()).collect();
        self.asks.push(Call { name: name.to_owned(), numbers: numbers.to_vec(), lists });
        self.answers.push(answer);
        self
    }

    pub(super) fn stores(mut self, at: usize, bytes: impl Into<Vec<u8>>) -> Self {
        self.stores.push((at, bytes.into()));
        self
    }

    pub(super) fn gives(mut self, result: i64) -> Self {
        self.result = result;
        self
    }

    fn check(self, driver: &Driver) {
        let mut memory = vec![0xee; 0x10000];
        put(&mut memory, &self.finds);
        let mut answers = self.answers.into_iter();
        let outcome = driver.call(&self.call, &self.arguments, &memory, move |_| answers.next().expect("an answer"));
        put(&mut memory, &self.stores);
        let what = format!("{} {:x?}", self.call, self.arguments);
        assert_eq!(outcome.calls, self.asks, "{what}");
        assert_eq!(outcome.result, Some(self.result), "{what}");
        let differs = outcome.memory.iter().zip(&memory).position(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{what}");
    }
}

pub(super) fn check(cases: impl IntoIterator<Item = Case>) {
    let driver = Driver::new();
    cases.into_iter().for_each(|case| case.check(&driver));
}

fn put(memory: &mut [u8], parts: &[(usize, Vec<u8>)]) {
    for (at, bytes) in parts {
        memory[*at..at + bytes.len()].copy_from_slice(bytes);
    }
}

pub(super) fn word(value: usize) -> u32 {
    u32::try_from(value).expect("32 bits")
}

pub(super) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An address, and its two words.
pub(super) fn ipv6() -> (Vec<u8>, [i64; 2]) {
    let bytes: Vec<u8> = (1..=16).collect();
    let word = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let words = [word(0), word(8)];
    (bytes, words)
}
