//! Lists from the shim: nothing changes in the program's memory but what the call is to store, wherever that lies, and
//! what the shim reads is as the program wrote it.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{
    driver::{Driver, PAGES},
    harness::Answer,
};

const END: usize = PAGES * 0x10000;

/// Where things lie: all places where an area may be borrowed, and between.
fn place(size: usize) -> impl Strategy<Value = usize> {
    prop_oneof![0..64usize, 0x8000 - 64..0x8000 + 64usize, END - 128..END, 0..END]
        .prop_map(move |at| at.min(END - size))
}

/// Bytes which a failure does not list.
fn memory(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        // Knuth's.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..END).map(|_| next()).collect()
}

fn put(memory: &mut [u8], at: usize, bytes: &[u8]) {
    memory[at..at + bytes.len()].copy_from_slice(bytes);
}

fn word(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("32 bits").to_le_bytes()
}

/// The shim answers with as many bytes as it may, or with an error.
fn reply(list: &[u8], error: Option<u32>) -> Answer {
    error.map_or_else(|| Answer::List(list.to_vec()), Answer::Error)
}

fn check<S: Strategy>(strategy: S, mut test: impl FnMut(&Driver, S::Value))
where
    S::Value: std::fmt::Debug,
{
    let driver = Driver::new();
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 400, ..Config::default() });
    let mut test = |value| {
        test(&driver, value);
        Ok(())
    };
    let test = std::cell::RefCell::new(&mut test);
    runner.run(&strategy, |value| (test.borrow_mut())(value)).expect("it holds for all");
}

fn error() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![3 => Just(None), 1 => (1..77u32).prop_map(Some)]
}

#[test]
fn receiving_stores_the_bytes_and_what_is_told_of_them() {
    let strategy = (any::<u64>(), place(16), place(200), 0..200usize, place(4), place(4), error(), 0..3usize);
    check(strategy, |driver, (seed, parts, to, room, length_out, flags_out, error, call)| {
        let mut before = memory(seed);
        put(&mut before, parts, &word(to));
        put(&mut before, parts + 4, &word(room));
        let list: Vec<u8> = (0..room.saturating_sub(3)).map(|index| index.to_le_bytes()[0]).collect();
        let answer = reply(&list, error);
        let host = move |_: &_| answer.clone();
        let outcome = match call {
            0 => driver.call("sock_recv", &[600, parts, 1, 1, length_out, flags_out], &before, host),
            _ => driver.call("fd_read", &[600, parts, 1, length_out], &before, host),
        };
        let mut after = before.clone();
        if error.is_none() {
            put(&mut after, to, &list);
            put(&mut after, length_out, &word(list.len()));
            if call == 0 {
                put(&mut after, flags_out, &[0, 0]);
            }
        }
        assert_eq!(outcome.result, Some(error.unwrap_or(0).into()));
        assert_eq!(outcome.calls[0].numbers, [600, room as i64, i64::from(call == 0)]);
        assert!(outcome.memory == after, "another byte has changed");
    });
}

#[test]
fn polling_reads_subscriptions_and_stores_events() {
    let strategy = (any::<u64>(), place(48 * 3), place(32 * 3), 1..=3usize, 0..=3usize, place(4), error());
    check(strategy, |driver, (seed, subscriptions, events, count, due, count_out, error)| {
        let mut before = memory(seed);
        put(&mut before, subscriptions + 8, &[1]);
        put(&mut before, subscriptions + 16, &word(600));
        let list = vec![0xee; due.min(count) * 32];
        let answer = reply(&list, error);
        let arguments = [subscriptions, events, count, count_out];
        let outcome = driver.call("poll_oneoff", &arguments, &before, move |_| answer.clone());
        let mut after = before.clone();
        if error.is_none() {
            put(&mut after, events, &list);
            put(&mut after, count_out, &word(due.min(count)));
        }
        assert_eq!(outcome.result, Some(error.unwrap_or(0).into()));
        assert_eq!(outcome.calls[0].lists, [&before[subscriptions..subscriptions + 48 * count]]);
        assert!(outcome.memory == after, "another byte has changed");
    });
}

#[test]
fn an_option_is_stored_as_far_as_there_is_room() {
    let strategy = (any::<u64>(), place(16), 0..40usize, place(4), 0..=16usize, error());
    check(strategy, |driver, (seed, to, room, length, size, error)| {
        let mut before = memory(seed);
        put(&mut before, length, &word(room));
        let list = vec![0xdd; size.min(room)];
        let answer = reply(&list, error);
        let outcome = driver.call("sock_getsockopt", &[600, 0, 11, to, length], &before, move |_| answer.clone());
        let mut after = before.clone();
        if error.is_none() {
            put(&mut after, to, &list);
            put(&mut after, length, &word(list.len()));
        }
        assert_eq!(outcome.result, Some(error.unwrap_or(0).into()));
        assert_eq!(outcome.calls[0].numbers, [600, 0, 11, room.min(16) as i64]);
        assert!(outcome.memory == after, "another byte has changed");
    });
}

#[test]
fn the_codec_and_the_plugin_store_nothing_else_either() {
    let strategy = (any::<u64>(), place(300), 0..300usize, 0..300usize, error(), 0..3usize);
    check(strategy, |driver, (seed, to, room, size, error, call)| {
        let before = memory(seed);
        let list = vec![0xcc; size.min(room)];
        // The plugin has no errors.
        let error = error.filter(|_| call < 2);
        let (answer, length) = (reply(&list, error), list.len() as i64);
        let host = move |call: &super::harness::Call| match call.name.as_str() {
            "plugin.received-length" => Answer::Number(length),
            _ => answer.clone(),
        };
        let outcome = match call {
            0 => driver.call("read_raw", &[3, to, room], &before, host),
            1 => driver.call("write_tls", &[3, to, room], &before, host),
            _ => driver.call("wasmedge_httpsreq_get_rcv", &[to], &before, host),
        };
        let mut after = before.clone();
        if error.is_none() {
            put(&mut after, to, &list);
        }
        let result = error.map_or(if call < 2 { length } else { 0 }, |error| -i64::from(error));
        assert_eq!(outcome.result, Some(result));
        assert!(outcome.memory == after, "another byte has changed");
    });
}

#[test]
fn a_list_that_the_call_has_no_room_for_traps() {
    let driver = Driver::new();
    let mut memory = vec![0; END];
    put(&mut memory, 1024, &word(2048));
    put(&mut memory, 1028, &word(10));
    let outcome = driver.call("fd_read", &[600, 1024, 1, 1032], &memory, |_| Answer::List(vec![1; 11]));
    assert!(outcome.has_trapped);
}
