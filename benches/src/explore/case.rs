//! What a case is: a program, whether it has a fault, and what is known about it.

/// A program to be explored.
#[derive(Clone, Copy)]
pub struct Case {
    /// Begins with the name of the case; a variant follows after `_`.
    pub name: &'static str,
    pub main: fn(),
    /// How some schedules must fail, and all that fail: part of how the outcome is printed for
    /// debugging. If none, no schedule may fail.
    pub fault: Option<&'static str>,
    /// Whether timers may fire at any moment.
    pub lax_timers: bool,
    /// Whether it has too many traces to try them all.
    pub vast: bool,
    /// How many traces and states EXPLORE.md gives for its own port.
    pub traces: Option<u64>,
    pub states: Option<u64>,
}

impl Case {
    const fn new(name: &'static str, main: fn(), fault: Option<&'static str>) -> Case {
        let (lax_timers, vast) = (false, false);
        Case { name, main, fault, lax_timers, vast, traces: None, states: None }
    }

    /// No schedule fails.
    pub const fn sound(name: &'static str, main: fn()) -> Case {
        Case::new(name, main, None)
    }

    /// Some schedules fail, all in the same way.
    pub const fn faulty(name: &'static str, fault: &'static str, main: fn()) -> Case {
        Case::new(name, main, Some(fault))
    }

    pub const fn lax(self) -> Case {
        Case { lax_timers: true, ..self }
    }

    pub const fn vast(self) -> Case {
        Case { vast: true, ..self }
    }

    pub const fn traces(self, traces: u64) -> Case {
        Case { traces: Some(traces), ..self }
    }

    pub const fn states(self, states: u64) -> Case {
        Case { states: Some(states), ..self }
    }
}
