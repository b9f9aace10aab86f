//! What `poll_oneoff` means: wait until at least one subscription is due.

use std::{
    collections::HashSet,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::{
    abi::{
        errno::Errno,
        poll::{Event, Interest, Subscription, Timeout},
    },
    host::Host,
    sockets::{FIRST_SOCKET, Failure},
};

/// Waits, and returns the due events in the order of their subscriptions.
pub(crate) async fn poll(host: &mut Host, subscriptions: &[Subscription]) -> Result<Vec<Event>, Failure> {
    let timeouts = deadlines(host, subscriptions);
    let shortest = timeouts.iter().flatten().min().copied();
    // Where a fixed clock will be when the shortest has elapsed.
    let target = shortest.and_then(|shortest| host.wasi.clock.jump_target(shortest));
    let only_clocks = subscriptions.iter().all(|subscription| matches!(subscription.interest, Interest::Timeout(_)));
    // A timer is made only if there is something to wait for: most polls find an event at once.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let mut events = ready(host, subscriptions, cx)?;
        let mut due = shortest.is_some_and(|shortest| shortest.is_zero());
        if events.is_empty() && !due {
            if is_served_out(host, subscriptions, cx) {
                return Poll::Ready(Err(Failure::ServedOut));
            }
            if only_clocks && target.is_some() {
                // Nothing but time could pass, and it does so without waiting.
                due = true;
            } else if let Some(shortest) = shortest {
                let timer = timer.get_or_insert_with(|| Box::pin(sleep(shortest)));
                due = timer.as_mut().poll(cx).is_ready();
            }
        }
        if due {
            if let Some(target) = target {
                host.wasi.clock.jump(target);
            }
            events.extend(elapsed(subscriptions, &timeouts, shortest));
            events.sort_by_key(|(index, _)| *index);
        }
        if events.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(events.into_iter().map(|(_, event)| event).collect()))
    })
    .await
}

/// How long until each clock subscription is due.
fn deadlines(host: &mut Host, subscriptions: &[Subscription]) -> Vec<Option<Duration>> {
    let delay = host.wasi.clock.take_delay();
    let clock = &host.wasi.clock;
    let until = |id, at: u64| Duration::from_nanos(at.saturating_sub(clock.peek(id).unwrap_or(at)));
    subscriptions
        .iter()
        .map(|subscription| match subscription.interest {
            Interest::Timeout(Timeout::Relative(nanoseconds)) => Some(Duration::from_nanos(nanoseconds)),
            Interest::Timeout(Timeout::AbsoluteRealtime(at)) => Some(until(0, at.saturating_add(delay))),
            Interest::Timeout(Timeout::AbsoluteMonotonic(at)) => Some(until(1, at)),
            _ => None,
        })
        .collect()
}

/// The events of descriptors, and of subscriptions which are wrong, that need no waiting.
fn ready(
    host: &mut Host,
    subscriptions: &[Subscription],
    cx: &mut Context<'_>,
) -> Result<Vec<(usize, Event)>, Failure> {
    let mut seen = HashSet::new();
    let mut events = Vec::new();
    for (index, subscription) in subscriptions.iter().enumerate() {
        let is_repeated = match subscription.interest {
            Interest::Read(fd) | Interest::Write(fd) => !seen.insert((subscription.interest.tag(), fd)),
            _ => false,
        };
        let state = if is_repeated { Some(State::Error(Errno::Exist)) } else { state(host, subscription.interest, cx) };
        if let Some(state) = state {
            events.push((index, state.event(subscription)));
        }
    }
    Ok(events)
}

/// What a due subscription has to tell.
enum State {
    Ready { bytes: u64, hangup: bool },
    Error(Errno),
}

impl State {
    fn event(self, subscription: &Subscription) -> Event {
        let (errno, bytes, hangup) = match self {
            Self::Ready { bytes, hangup } => (None, bytes, hangup),
            Self::Error(errno) => (Some(errno), 0, false),
        };
        Event { userdata: subscription.userdata, errno, kind: subscription.interest.tag(), bytes, hangup }
    }
}

fn state(host: &mut Host, interest: Interest, cx: &mut Context<'_>) -> Option<State> {
    let is_ready = match interest {
        Interest::Timeout(_) => return None,
        Interest::Invalid(_) => Poll::Ready(Err(Failure::Errno(Errno::Inval))),
        Interest::Read(fd) if fd >= FIRST_SOCKET => host.sockets.poll_readable(fd, cx),
        Interest::Write(fd) if fd >= FIRST_SOCKET => host.sockets.poll_writable(fd, cx).map_err(Failure::Errno),
        Interest::Read(0) if host.wasi.stdio.is_open(0) => host.wasi.stdio.poll_readable(cx).map(Ok),
        // Output is buffered or waits inside of the write, and files never wait.
        Interest::Read(fd) | Interest::Write(fd) => match host.is_open_without_socket(fd) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(Failure::Errno(Errno::BadF))),
        },
    };
    match (is_ready, interest) {
        (Poll::Pending, _) => None,
        (Poll::Ready(Err(Failure::Errno(errno))), _) => Some(State::Error(errno)),
        (Poll::Ready(Err(Failure::ServedOut)), _) => None,
        (Poll::Ready(Ok(())), Interest::Write(fd)) => {
            let (bytes, hangup) = host.sockets.stream_state(fd);
            Some(State::Ready { bytes, hangup })
        }
        (Poll::Ready(Ok(())), Interest::Read(fd)) => {
            let (_, hangup) = host.sockets.stream_state(fd);
            Some(State::Ready { bytes: 1, hangup })
        }
        (Poll::Ready(Ok(())), _) => None,
    }
}

/// Whether the guest waits for a connection, and none will come.
fn is_served_out(host: &mut Host, subscriptions: &[Subscription], cx: &mut Context<'_>) -> bool {
    subscriptions.iter().any(|subscription| match subscription.interest {
        Interest::Read(fd) => host.sockets.is_served_out(fd, cx),
        _ => false,
    })
}

fn elapsed(
    subscriptions: &[Subscription],
    timeouts: &[Option<Duration>],
    shortest: Option<Duration>,
) -> Vec<(usize, Event)> {
    let due = |timeout: &Option<Duration>| timeout.is_some() && *timeout <= shortest;
    let tell = |(index, subscription)| {
        let event = State::Ready { bytes: 0, hangup: false }.event(subscription);
        (index, event)
    };
    subscriptions.iter().enumerate().filter(|(index, _)| due(&timeouts[*index])).map(tell).collect()
}
