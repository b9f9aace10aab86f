//! Time under a fixed clock: what a guest sleeps passes without waiting, and nothing else moves it much.

#[path = "harness/guest.rs"]
#[allow(dead_code, reason = "only polls")]
mod guest;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prewasm_ext_http::{Clock, Environment, HostOptions, Inbound, Network, Outbound, virtual_inbound};

use guest::{FREE, Guest, OUT, Template};

const READ: u8 = 1;
const STREAM: i64 = 2;
const HOUR_MS: u64 = 3_600_000;

async fn guest(inbound: Inbound) -> Guest {
    let environment = Environment { clock: Clock::Fixed(0), ..Environment::default() };
    let network = Network { inbound, outbound: Arc::new(Outbound::default()) };
    Template::new().guest(environment, HostOptions::silent(network)).await
}

async fn monotonic(guest: &mut Guest) -> u64 {
    guest.ok("clock_time_get/3", &[1, 0, OUT.into()]).await;
    u64::from_le_bytes(guest.read(OUT, 8).try_into().expect("eight bytes"))
}

#[tokio::test]
async fn a_sleep_takes_no_time_and_the_clock_jumps() {
    let mut guest = guest(Inbound::Denied).await;
    let started = Instant::now();
    for round in 1..=100 {
        let events = guest.poll(&[], HOUR_MS).await;
        assert_eq!(events, [(0, 0, 0, 0)]);
        let now = monotonic(&mut guest).await;
        let slept = round * HOUR_MS * 1_000_000;
        assert!((slept..slept + 1_000_000).contains(&now), "{now}");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "100 hours have passed");
}

#[tokio::test]
async fn an_absolute_deadline_is_reached_and_then_has_passed() {
    let mut guest = guest(Inbound::Denied).await;
    let mut subscription = [0; 48];
    subscription[16] = 1;
    subscription[24..32].copy_from_slice(&5_000_000_000u64.to_le_bytes());
    subscription[40] = 1;
    guest.write(FREE, &subscription);
    for _ in 0..2 {
        guest.ok("poll_oneoff/4", &[FREE.into(), (FREE + 64).into(), 1, OUT.into()]).await;
        assert_eq!(guest.u32(OUT), 1);
        let now = monotonic(&mut guest).await;
        assert!((5_000_000_000..5_000_010_000).contains(&now), "{now}");
    }
}

#[tokio::test]
async fn with_a_descriptor_the_wait_is_real_and_the_clock_follows() {
    let (inbound, _connector) = virtual_inbound();
    let mut guest = guest(Inbound::Virtual(inbound)).await;
    let listener = guest.open(STREAM).await;
    assert_eq!(guest.bind(listener, 80).await, 0);
    guest.ok("sock_listen/2", &[listener, 8]).await;
    let started = Instant::now();
    let events = guest.poll(&[(READ, listener)], 30).await;
    assert_eq!(events, [(1, 0, 0, 0)], "nobody came");
    assert!(started.elapsed() >= Duration::from_millis(30));
    let now = monotonic(&mut guest).await;
    assert!((30_000_000..31_000_000).contains(&now), "{now}");
}

#[tokio::test]
async fn the_first_readings_are_close_to_each_other_and_a_loop_still_ends() {
    let mut guest = guest(Inbound::Denied).await;
    assert_eq!((monotonic(&mut guest).await, monotonic(&mut guest).await), (1, 2));
    let mut readings = 0;
    while monotonic(&mut guest).await < 1_000_000 {
        readings += 1;
    }
    assert!(readings < 2_500, "{readings} readings for a millisecond");
}
