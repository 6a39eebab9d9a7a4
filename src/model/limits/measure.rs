//! The bounds of what `waitbus bench` measures, and of what the benches measure with the same code.

use std::time::Duration;

/// The longest latency that is told apart from longer ones, in nanoseconds: a minute. Whoever waits longer has lost.
pub const MEASURE_LONGEST: u64 = 60_000_000_000;
/// Samples that are thrown away before counting begins, or a tenth of those that count if that is more: enough for the
/// page cache, the branch predictors and the processor's clock.
pub const MEASURE_WARM_UP: u64 = 500;
/// From the beginning of a schedule to its first sample: whoever sends is asleep by then, as for every later sample.
pub const MEASURE_LEAD: Duration = Duration::from_millis(50);
/// How long a receiving process waits for its next sample, which is due every second at least, before it takes its hub
/// for one that hangs.
pub const MEASURE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the hub of a private bus stays when whoever measures was killed and could not end it.
pub const MEASURE_IDLE_EXIT: Duration = Duration::from_secs(30);
/// Most seconds of samples for one figure of `waitbus bench`: ten minutes.
pub const MEASURE_SECONDS: u64 = 600;
/// Most samples a second: twice what one process can commit here, one after the other. Above that the figure is how long
/// the queue has become.
pub const MEASURE_RATE: u64 = 40_000;
/// Most events of one `waitbus bench`: a log of about 700 MB, and as many notes of who received them.
pub const MEASURE_EVENTS: u64 = 1_000_000;
/// Most paces of one `waitbus bench`: a curve with its control for each of them is as much as a picture can have.
pub const MEASURE_PACES: usize = 8;
/// Most subscribers of one receiving process: its descriptors, of which a process has 1,024 where nobody asks for more.
pub const MEASURE_SUBSCRIBERS: usize = 1_000;
/// Events a second for a crowd of subscribers: each is as many deliveries as there are subscribers.
pub const MEASURE_CROWD_RATE: u64 = 100;
