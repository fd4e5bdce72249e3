//! What holds of the report of every pipeline.

use tasklets::pipeline::{EdgeReport, Report};

/// Every stage has delivered, failed or returned what it took, and what it gave was taken.
#[track_caller]
pub fn conserves(report: &Report) {
    for (number, stage) in report.stages.iter().enumerate() {
        assert_eq!(stage.taken, stage.delivered + stage.failed + stage.returned, "{report}");
        let passed = |of: fn(&EdgeReport) -> usize| {
            let edges = report.edges.iter().filter(|it| of(it) == number);
            edges.map(|it| it.items).reduce(|sum, it| sum + it)
        };
        let (came, went) = (passed(|it| it.to), passed(|it| it.from));
        assert_eq!(stage.taken, came.unwrap_or(stage.taken), "{report}"); // no source
        assert_eq!(stage.given, went.unwrap_or(stage.given), "{report}"); // no sink
    }
}
