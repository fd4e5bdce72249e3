//! The judge: replays a log on the model and says the first thing that could not be.
//!
//! While a tasklet runs nobody else changes anything, so what it does takes effect, in the model,
//! when its log says that it has ended or has been suspended.

use super::program::{Chan, Program};
use super::rules::{Answer, Call, Channel, Flow, Rules, Task, end};
use super::world::{Entry, Event, Id, OpId, Outcome, Until, Value, Want};
use std::collections::{BTreeMap, BTreeSet};
use tasklets::{Counts, Direction, Halt};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    Stuck,
    Panicked,
}

type Judged = Result<(), String>;

pub struct Model<'l> {
    rules: Rules,
    /// What came of each operation, known in advance.
    ends: BTreeMap<OpId, (usize, &'l Outcome)>,
    /// Whether the ready queue is first come first served.
    ordered: bool,
    root: Option<Id>,
    stuck: bool,
    /// The run ends before anybody else runs.
    fails: bool,
    /// Times the end of the run pushed.
    drains: u32,
    /// From here on only the values are followed: a deadline had passed when a wait for it began,
    /// so that it may end at any time, or the end of the run broke into a meeting.
    lost: bool,
    sent: BTreeSet<Value>,
    got: BTreeSet<Value>,
}

/// Checks the log of a run of `program`; an error has the log up to what is wrong.
pub fn judge(program: &Program, log: &[Entry], verdict: Verdict, ordered: bool) -> Judged {
    let mut model = Model::new(program, log, ordered);
    for (index, entry) in log.iter().enumerate() {
        if let Err(wrong) = model.step(entry) {
            return Err(format!("{wrong}\nafter {:#?}", &log[..=index]));
        }
    }
    model.end(verdict).map_err(|wrong| format!("{wrong}\nafter {log:#?}"))
}

/// Checks only what became of the values: each sent is got, once.
pub fn judge_values(program: &Program, log: &[Entry]) -> Judged {
    let mut model = Model::new(program, log, false);
    model.lost = true;
    log.iter().try_for_each(|entry| model.follow_values(&entry.event))?;
    model.end(Verdict::Done).map_err(|wrong| format!("{wrong}\nafter {log:#?}"))
}

/// Whether it panicked and nobody can join it.
fn fails(task: &Task) -> bool {
    task.finished && task.panicked && task.detached && !task.scoped
}

fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Judged {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl<'l> Model<'l> {
    fn new(program: &Program, log: &'l [Entry], ordered: bool) -> Model<'l> {
        let ends = log.iter().filter_map(|it| match &it.event {
            Event::End(op, arm, outcome) => Some((*op, (*arm, outcome))),
            _ => None,
        });
        let channels = program.channels.iter();
        let channels =
            channels.map(|kind| Channel { kind: *kind, handles: [1, 1], offers: [vec![], vec![]] });
        let ends: BTreeMap<_, _> = ends.collect();
        let known = ends.iter().map(|(op, (arm, _))| (*op, *arm)).collect();
        Model {
            rules: Rules { known, ..Rules::new(channels.collect()) },
            ends,
            ordered,
            root: None,
            stuck: false,
            fails: false,
            drains: 0,
            lost: false,
            sent: BTreeSet::new(),
            got: BTreeSet::new(),
        }
    }

    fn step(&mut self, entry: &Entry) -> Judged {
        self.follow_values(&entry.event)?;
        if self.lost {
            return Ok(());
        }
        if entry.at > self.rules.now {
            let ready = &self.rules.ready;
            claim(ready.is_empty(), || format!("time goes by while {ready:?} are ready"))?;
            self.pass_time(entry.at)?;
        }
        match &entry.event {
            Event::Spawned(id) => {
                self.rules.spawn(*id);
                self.root.get_or_insert(*id);
                Ok(())
            }
            Event::Entered(id) => self.enter(*id),
            Event::Suspended(id) => self.suspend(*id),
            Event::Finished(id) => self.finish(*id),
            event => self.act(entry.who.ok_or("nobody did it")?, event),
        }
    }

    /// Time stops wherever something is due; who is made ready there runs there.
    fn pass_time(&mut self, to: u64) -> Judged {
        while let Some(next) = self.rules.timers().into_iter().filter(|it| *it <= to).min() {
            self.rules.advance(next);
            let ready = &self.rules.ready;
            claim(next == to || ready.is_empty(), || format!("{ready:?} were due at {next}"))?;
        }
        claim(self.rules.now == to, || format!("nothing was due at {to}"))
    }

    /// Events of the running tasklet.
    fn act(&mut self, who: Id, event: &Event) -> Judged {
        let rules = &mut self.rules;
        claim(rules.tasks[&who].way.is_none(), || "it did not give way".into())?;
        match event {
            Event::Started => {
                rules.task(who).started = true;
                claim(!rules.tasks[&who].cancelled, || "it began although cancelled".into())?;
            }
            Event::Begin(op, wants, until) => self.begin(who, *op, wants, *until)?,
            Event::End(op, arm, outcome) => self.complete(who, *op, *arm, outcome)?,
            Event::Attempt(direction, channel, will_block) => {
                self.attempt(who, *direction, *channel, *will_block)?;
            }
            Event::Cloned(direction, channel) => {
                rules.channels[usize::from(*channel)].handles[end(*direction)] += 1;
            }
            Event::Dropped(direction, channel) => rules.drop_handle(*direction, *channel),
            Event::Accepts(op) => rules.accept(*op),
            Event::Uses(op, value) => {
                rules.task(who).way = match rules.use_permit(who, *op, *value) {
                    Flow::GivesWay { newest } => Some(newest),
                    Flow::GoesOn | Flow::Commits => None,
                };
            }
            Event::Refuses(op) => rules.refuse(*op),
            Event::TornAway(_) => return Err("its receiver has waited".into()),
            Event::Yields => rules.task(who).way = Some(false),
            Event::Cancels(other) => rules.cancel(*other),
            Event::Inserts(other, was_paused) => self.insert(*other, *was_paused)?,
            Event::Stops(other, was_ready) => {
                claim(rules.stop(*other) == *was_ready, || "was it ready?".into())?;
            }
            Event::Injects(other) => rules.inject(*other),
            Event::RunsNow(other) => rules.run_now(who, *other),
            Event::Ran(ran) => {
                let could = rules.task(who).ran.take();
                claim(could == Some(*ran), || format!("it could run it: {could:?}"))?;
            }
            Event::Shields(true) => rules.task(who).shields += 1,
            Event::Shields(false) => rules.task(who).shields -= 1,
            Event::Deadline(at) => rules.task(who).deadlines.push(*at),
            Event::Leaves(expired) => self.leave(who, *expired)?,
            Event::Scoped(child) => {
                let deadlines = rules.tasks[&who].deadlines.clone();
                let child = rules.task(*child);
                (child.scoped, child.deadlines) = (true, deadlines);
            }
            Event::Detaches(other) => {
                rules.task(*other).detached = true;
                self.fails |= fails(&rules.tasks[other]);
            }
            Event::Returns(value) => rules.task(who).result = Some(*value),
            Event::Panics => rules.task(who).panicked = true,
            Event::Balance(channel, balance) => self.balance(*channel, *balance)?,
            Event::Count(counts) => self.count(*counts)?,
            Event::Spawned(_) | Event::Entered(_) | Event::Suspended(_) | Event::Finished(_) => {
                unreachable!("the hook's events are dealt with elsewhere")
            }
        }
        Ok(())
    }

    /// A tasklet runs from here on.
    fn enter(&mut self, who: Id) -> Judged {
        if std::mem::take(&mut self.fails) && !self.rules.draining {
            self.drains = 1;
            self.rules.drain(false);
        }
        let is_ready = |rules: &Rules| rules.ready.iter().position(|(_, it)| *it == who);
        while is_ready(&self.rules).is_none() {
            self.push_on(who)?;
            if self.lost {
                return Ok(());
            }
        }
        let place = is_ready(&self.rules).expect("found above");
        let ready = &self.rules.ready;
        let (first, number) = (ready[0].0, ready[place].0);
        claim(!self.ordered || first == number, || format!("not its turn: {ready:?}"))?;
        self.rules.ready.remove(place);
        if let Some(call) = &mut self.rules.task(who).call
            && matches!(call.answer, Answer::Again)
        {
            // What it tried last it may try again without a word to the hook.
            call.answer = Answer::Open;
            self.pass_gate(who);
        }
        Ok(())
    }

    /// Somebody runs whom nothing made ready: the run must have been at its end.
    fn push_on(&mut self, who: Id) -> Judged {
        let ready = &self.rules.ready;
        claim(ready.is_empty(), || format!("{who} runs, but ready are {ready:?}"))?;
        let timers = self.rules.timers();
        claim(timers.is_empty(), || format!("{who} runs, but what comes is {timers:?}"))?;
        // Tasklets may stop each other meanwhile: each round ends at least one of them.
        claim(self.drains < 4 + self.rules.tasks.len() as u32, || {
            format!("nothing lets {who} run")
        })?;
        self.drains += 1;
        self.stuck |= !self.rules.draining;
        self.rules.drain(self.drains > 1);
        self.lost |= self.drains > 1 && self.rules.tasks.values().any(|it| it.committed);
        Ok(())
    }

    /// A tasklet does not run any more.
    fn suspend(&mut self, who: Id) -> Judged {
        let task = self.rules.task(who);
        if let Some(newest) = task.way.take() {
            self.rules.give_way(who, newest);
            return Ok(());
        }
        if task.committed {
            return Ok(());
        }
        let Some(call) = &task.call else {
            task.ending = true;
            return Ok(());
        };
        let (until, tried) = (call.until, call.tried);
        let open = matches!(call.answer, Answer::Open);
        claim(open, || format!("suspended although answered: {:?}", call.answer))?;
        let enabled = self.rules.enabled(who);
        if enabled.is_empty() {
            claim(until != Until::Now, || "it waits although it must not".into())?;
            self.lost |= matches!(until, Until::At(at) if at <= self.rules.now);
            self.rules.publish(who);
            return Ok(());
        }
        let arm = self.which(who, &enabled, tried)?;
        match self.rules.happen(who, arm) {
            Flow::GoesOn => Err(format!("suspended although arm {arm} could happen")),
            Flow::Commits => {
                self.rules.task(who).committed = true;
                Ok(())
            }
            Flow::GivesWay { newest } => {
                self.rules.give_way(who, newest);
                Ok(())
            }
        }
    }

    /// Which of the arms that can happen a suspended tasklet has tried last.
    fn which(
        &self,
        who: Id,
        enabled: &[usize],
        tried: Option<(Direction, Chan)>,
    ) -> Result<usize, String> {
        let call = self.rules.tasks[&who].call.as_ref().expect("it is in an operation");
        let fits = |it: &&usize| tried.is_some() && call.wants[**it].place() == tried;
        let fitting: Vec<_> = enabled.iter().filter(fits).copied().collect();
        let known = self.ends.get(&call.op).map(|it| it.0).filter(|it| fitting.contains(it));
        let first = fitting.first().copied();
        known.or(first).ok_or_else(|| format!("it waits although arms {enabled:?} could happen"))
    }

    fn begin(&mut self, who: Id, op: OpId, wants: &[Want], until: Until) -> Judged {
        let task = self.rules.task(who);
        claim(task.call.is_none(), || "an operation within another".into())?;
        let (wants, answer) = (wants.to_vec(), Answer::Open);
        task.call = Some(Call { op, wants, until, answer, tried: None });
        self.pass_gate(who);
        Ok(())
    }

    /// An operation that may wait fails at once if its tasklet must stop.
    fn pass_gate(&mut self, who: Id) {
        let call = self.rules.tasks[&who].call.as_ref().expect("it is in an operation");
        let gated = call.until != Until::Now && !matches!(call.wants[..], [Want::Scope(_)]);
        if let (true, Some(why)) = (gated, self.rules.interruption(who)) {
            self.rules.answer(who, vec![(0, Outcome::Halted(why))]);
        }
    }

    fn attempt(&mut self, who: Id, direction: Direction, channel: Chan, blocks: bool) -> Judged {
        let can = self.rules.is_open_at(direction, channel);
        claim(can != blocks, || "the hook was told wrong".into())?;
        let call = self.rules.task(who).call.as_mut().ok_or("no operation is under way")?;
        call.tried = Some((direction, channel));
        Ok(())
    }

    /// An operation is over.
    fn complete(&mut self, who: Id, op: OpId, arm: usize, outcome: &Outcome) -> Judged {
        let call = self.rules.tasks[&who].call.as_ref().ok_or("it was in none")?;
        claim(call.op == op, || format!("it was in operation {}", call.op))?;
        // Operations on their own tell a deadline of their own by the error.
        let sugar = call.wants.len() == 1 && *outcome == Outcome::Halted(Halt::TimedOut);
        let nobody = *outcome == Outcome::Nobody || sugar;
        if matches!(call.answer, Answer::Open) {
            let enabled = self.rules.enabled(who);
            // A limit that is over makes it an attempt.
            let over = match call.until {
                Until::Now => true,
                Until::At(at) => at <= self.rules.now,
                Until::Forever => false,
            };
            if nobody && over {
                claim(enabled.is_empty(), || format!("arms {enabled:?} could happen"))?;
                self.rules.task(who).call = None;
                return Ok(());
            }
            claim(enabled.contains(&arm), || format!("of the arms {enabled:?} can happen"))?;
            match self.rules.happen(who, arm) {
                Flow::GoesOn => {}
                Flow::GivesWay { .. } => return Err("it does not give way".into()),
                Flow::Commits => return Err("it did not wait for its partner".into()),
            }
        }
        let call = self.rules.task(who).call.take().expect("it is in one");
        if *outcome == Outcome::Halted(Halt::Injected) {
            self.rules.task(who).injected = false;
        }
        if *outcome == Outcome::JoinedPanic
            && let Want::End(of) = call.wants[arm]
        {
            self.rules.task(of).taken = true;
        }
        let Answer::OneOf(answers) = &call.answer else { return Err("nothing happened".into()) };
        let fits = answers.contains(&(arm, outcome.clone()))
            || (sugar && answers.contains(&(0, Outcome::Nobody)));
        claim(fits, || format!("it should have come to one of {answers:?}"))
    }

    fn finish(&mut self, who: Id) -> Judged {
        let task = &self.rules.tasks[&who];
        claim(task.ending && task.call.is_none(), || "it ended in the middle".into())?;
        claim(task.started || task.cancelled, || "it ended before it began".into())?;
        self.rules.finish(who);
        self.fails |= fails(&self.rules.tasks[&who]) || self.root == Some(who);
        Ok(())
    }

    fn insert(&mut self, other: Id, was_paused: bool) -> Judged {
        let paused = self.rules.is_paused(other);
        claim(paused == was_paused, || format!("paused: {paused}"))?;
        if paused {
            self.rules.insert(other);
        }
        Ok(())
    }

    fn leave(&mut self, who: Id, expired: Option<bool>) -> Judged {
        let now = self.rules.now;
        let deadlines = &mut self.rules.task(who).deadlines;
        let own = deadlines.pop().expect("it was entered") <= now;
        let outer = deadlines.iter().any(|it| *it <= now);
        claim(expired.is_none_or(|it| it == (own && !outer)), || format!("own {own}, {outer}"))
    }

    fn balance(&self, channel: Chan, balance: isize) -> Judged {
        let [senders, receivers] =
            self.rules.channels[usize::from(channel)].offers.each_ref().map(Vec::len);
        let expected = senders.cast_signed() - receivers.cast_signed();
        claim(balance == expected, || format!("the balance is {expected}"))
    }

    fn count(&self, counts: Counts) -> Judged {
        let living = self.rules.tasks.iter().filter(|(_, it)| !it.finished);
        let (mut waiting, mut paused, mut alive) = (0, 0, 0);
        for (id, task) in living {
            alive += 1;
            let is_paused = self.rules.is_paused(*id);
            paused += usize::from(is_paused);
            waiting += usize::from((task.waits && !is_paused) || task.committed);
        }
        let expected = (alive - waiting - paused, waiting, paused);
        let found = (counts.runnable, counts.blocked + counts.sleeping, counts.paused);
        claim(found == expected, || format!("runnable, waiting, paused are {expected:?}"))
    }

    /// A value is sent at most once, and got at most once.
    fn follow_values(&mut self, event: &Event) -> Judged {
        match event {
            Event::Begin(op, wants, _) => {
                let won = self.ends.get(op).filter(|it| *it.1 == Outcome::Sent);
                if let Some(Want::Send(_, value)) = won.map(|it| &wants[it.0]) {
                    claim(self.sent.insert(*value), || format!("{value} is sent twice"))?;
                }
            }
            Event::Uses(_, value) => {
                claim(self.sent.insert(*value), || format!("{value} is sent twice"))?;
            }
            Event::TornAway(value) => drop(self.sent.remove(value)),
            Event::End(_, _, Outcome::Got(value)) => {
                claim(self.sent.contains(value), || format!("{value} was never sent"))?;
                claim(self.got.insert(*value), || format!("{value} is got twice"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self, verdict: Verdict) -> Judged {
        let (sent, got) = (&self.sent, &self.got);
        claim(sent == got, || format!("sent {sent:?}, got {got:?}"))?;
        if self.lost {
            return Ok(());
        }
        let living: Vec<_> = self.rules.tasks.iter().filter(|it| !it.1.finished).collect();
        claim(living.is_empty(), || format!("{} tasklets live", living.len()))?;
        let panicked = self.rules.tasks.values().any(|it| it.panicked && !it.scoped && !it.taken);
        let expected = match (self.stuck, panicked) {
            (true, _) => Verdict::Stuck,
            (false, true) => Verdict::Panicked,
            (false, false) => Verdict::Done,
        };
        claim(verdict == expected, || format!("the run is {verdict:?}, not {expected:?}"))
    }
}
