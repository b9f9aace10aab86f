//! The original and the frozen program side by side: from the stop point on, they must do the same.
//!
//! Both get hosts which answer alike: the same clocks, the same random bytes, the same files. A server gets one more
//! request. Compared are the host calls with their arguments, how the programs end, and what they hold then.

use std::{cell::Cell, future::poll_fn, sync::atomic::Ordering, task::Poll, time::Duration};

use prewasm_ext_http::{
    Connector, HostState,
    link::{self, ServedOut},
};
use wasmtime::Instance;
use wasmtime_wasi::I32Exit;

use super::{
    FreezeError, Freezer, Subject, alongside,
    capture::state,
    watched::{Record, StopHere, Watched},
};
use crate::{
    host_calls::Asked,
    options::Stop,
    sandbox::{Expired, RunError, START_FUNCTION, during},
    shadow_stack,
    warm_up::{self, WarmUp},
};

/// How far two programs were compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Host calls from the stop point on.
    pub(crate) host_calls: usize,
    /// How both ended, in words.
    pub(crate) end: String,
}

/// What one of them did.
struct Course {
    record: Record,
    end: End,
}

/// How one of them ended.
#[derive(PartialEq, Eq)]
enum End {
    /// By itself, in words.
    Itself(String),
    /// It took too long.
    Cut,
}

/// Whoever goes on for longer beyond the stop point is compared up to there.
const MAX_TIME: Duration = Duration::from_secs(3);

/// Where a program went on from.
pub(super) struct Left<'a> {
    pub(super) host: &'a HostState,
    pub(super) random_position: u64,
    /// How long it took to come there.
    pub(super) time: Duration,
}

impl Freezer<'_> {
    /// Whether the program can be run again at all, and would find everything as before.
    pub(super) fn is_comparable(&self, asked: &Asked) -> bool {
        let options = self.sandbox.options;
        options.inputs.is_repeatable()
            // Nobody tells how much of it was read.
            && options.inputs.stdin.is_none()
            && !asked.has_numbered_files() && (options.warm_ups.is_empty() || *self.stop == Stop::Accept)
    }

    /// Runs both.
    pub(super) async fn compare(
        &self,
        original: &Subject<'_>,
        frozen: &Subject<'_>,
        left: Left<'_>,
    ) -> Result<Option<Compared>, FreezeError> {
        let shape = original.program.shape();
        let (state, connector) = Watched::beyond(
            self.artifact,
            self.stop.clone(),
            shape,
            self.sandbox,
            shadow_stack::in_front(original.program),
        )?;
        let warm_ups = &self.sandbox.options.warm_ups;
        let mut before = self.course(original, state, &connector, warm_ups, left.time * 2 + MAX_TIME).await?;
        if before.record.calls.is_empty() && before.end == End::Cut {
            // The machine has become slow.
            return Ok(None);
        }
        if before.record.calls.is_empty() {
            return Err(FreezeError::Differs { what: "way to its stop point, when it was run again" });
        }
        let shape = frozen.program.shape();
        let (state, connector) = Watched::resumed(self.artifact, left.host, left.random_position, shape, self.sandbox)?;
        let mut after = self.course(frozen, state, &connector, &[], MAX_TIME).await?;
        for course in [&mut before, &mut after] {
            if let Some(state) = &mut course.record.state {
                shadow_stack::clear(original.program, state);
            }
        }
        agree(before, after).map(Some)
    }

    /// Runs one of them: up to its stop point with these requests, and on with one more.
    async fn course(
        &self,
        subject: &Subject<'_>,
        mut state_of_host: Watched,
        connector: &Connector,
        warm_ups: &[WarmUp],
        time: Duration,
    ) -> Result<Course, FreezeError> {
        state_of_host.limit(self.sandbox, time);
        let paused = state_of_host.paused();
        let has_begun = state_of_host.has_begun();
        let mut store = self.sandbox.store(state_of_host)?;
        if self.sandbox.options.limits.fuel.is_some() {
            // The original needs more of it than what goes on at its stop point.
            store.set_fuel(u64::MAX).map_err(RunError::Engine)?;
        }
        let externs = link::externs(&subject.linker, &mut store, &subject.module).map_err(RunError::Engine)?;
        let instance = Cell::new(None);
        let guest = async {
            let new = Instance::new_async(&mut store, &subject.module, &externs).await;
            let new = new.map_err(during(START_FUNCTION))?;
            instance.set(Some(new));
            let entry = link::start_function(&mut store, &new).map_err(during(super::ENTRY))?;
            store.data_mut().enter();
            entry.call_async(&mut store, ()).await.map_err(during(super::ENTRY))
        };
        let last = self.last_request();
        let client = async {
            if *self.stop != Stop::Accept {
                return warm_up::drive(connector, warm_ups, &Cell::new(None)).await;
            }
            if !has_begun.load(Ordering::Relaxed) {
                warm_up::drive(connector, warm_ups, &Cell::new(None)).await?;
            }
            // The guest is looked after before its client is: it will have come to its stop point at some time.
            poll_fn(|_| if has_begun.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
            // Whatever the answer is: both must give the same.
            let _ = last.send(connector.connect(warm_up::PEER)).await;
            connector.close();
            Ok(Vec::new())
        };
        let both = alongside(guest, &paused, client);
        let end = match self.sandbox.within(time, both).await {
            None => End::Cut,
            Some(both) => match both.guest {
                None => End::Itself("did not answer".to_owned()),
                Some(Ok(())) => End::Itself("returned".to_owned()),
                Some(Err(failed)) => end(&failed.error),
            },
        };
        self.sandbox.lift_limits(&mut store)?;
        let mut record = store.data_mut().take_record();
        if let (None, Some(instance)) = (&record.state, instance.get()) {
            record.state = state(&mut store, instance, subject.program.shape()).ok();
        }
        Ok(Course { record, end })
    }

    /// The last request of the warm-up, or else one for the root.
    fn last_request(&self) -> WarmUp {
        let last = self.sandbox.options.warm_ups.last();
        last.cloned().unwrap_or_else(WarmUp::root)
    }
}

fn end(error: &wasmtime::Error) -> End {
    End::Itself(if let Some(I32Exit(code)) = error.downcast_ref() {
        format!("exited with code {code}")
    } else if error.is::<ServedOut>() {
        "waited for a connection".to_owned()
    } else if error.is::<StopHere>() {
        "would have gone on".to_owned()
    } else if error.is::<Expired>() {
        return End::Cut;
    } else {
        format!("ended with: {}", error.root_cause())
    })
}

fn agree(before: Course, after: Course) -> Result<Compared, FreezeError> {
    let differs = |what| Err(FreezeError::Differs { what });
    let (mut calls, mut others) = (before.record.calls, after.record.calls);
    // One which was cut need not have come as far as the other.
    let length = match (&before.end, &after.end) {
        (End::Cut, End::Cut) => calls.len().min(others.len()),
        (End::Cut, End::Itself(_)) => calls.len(),
        (End::Itself(_), End::Cut) => others.len(),
        (End::Itself(_), End::Itself(_)) => calls.len().max(others.len()),
    };
    calls.truncate(length);
    others.truncate(length);
    if calls != others {
        return differs("host calls from its stop point on");
    }
    let host_calls = others.len();
    let end = match (before.end, after.end) {
        (End::Itself(before), End::Itself(after)) if before == after => after,
        (End::Itself(_), End::Itself(_)) => return differs("end"),
        (End::Cut, _) | (_, End::Cut) => {
            return Ok(Compared { host_calls, end: "were stopped, since they went on for long".to_owned() });
        }
    };
    if let (Some(a), Some(b)) = (&before.record.state, &after.record.state)
        && a != b
    {
        return differs("state after it has gone on");
    }
    Ok(Compared { host_calls, end })
}
