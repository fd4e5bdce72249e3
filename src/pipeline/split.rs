//! Pipelines that part and meet: tee, partition, merge, zip, fan-out.
//!
//! Always: a branch is run with the pipeline it was taken from, and has ended when that has.

use super::network::{self, Emit, Inlet, Item, Net, Outlet, Stop};
use super::sink::Sink;
use super::{Pipeline, Settings};
use crate::select;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

impl<'env, T: 'static> Pipeline<'env, T> {
    /// Gives each item on, and a clone of it to `branch`; the slower of the two sets the pace.
    ///
    /// What the branch's sink gives is dropped. If the branch wants no more, it gets no more, and
    /// the others go on; when nobody wants more of what is given on, the branch ends, too.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use tasklets::{pipeline, run};
    /// let sum = Cell::new(0);
    /// let done = run(|| {
    ///     let numbers = pipeline::from_iter(1..=4);
    ///     let both = numbers.tee(|copy| copy.for_each(|it| sum.set(sum.get() + it)));
    ///     both.collect::<Vec<i32>>().run()
    /// });
    /// assert_eq!((done.unwrap().value, sum.get()), (vec![1, 2, 3, 4], 10));
    /// ```
    pub fn tee<R: 'env>(
        self,
        branch: impl FnOnce(Pipeline<'env, T>) -> Sink<'env, R> + 'env,
    ) -> Pipeline<'env, T>
    where
        T: Clone,
    {
        self.fork("tee", branch, |value| (Some(value.clone()), Some(value)))
    }

    /// Gives the items for which `keep` holds on, the others to `branch`.
    ///
    /// What the branch's sink gives is dropped. If the branch wants no more, others are returned,
    /// and those for which it holds go on; when nobody wants more of these, the branch ends, too.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use tasklets::{pipeline, run};
    /// let odd = RefCell::new(Vec::new());
    /// let done = run(|| {
    ///     let numbers = pipeline::from_iter(1..=5);
    ///     let even = numbers.partition(|it| it % 2 == 0, |rest| {
    ///         rest.for_each(|it| odd.borrow_mut().push(it))
    ///     });
    ///     even.collect::<Vec<i32>>().run()
    /// });
    /// assert_eq!((done.unwrap().value, odd.into_inner()), (vec![2, 4], vec![1, 3, 5]));
    /// ```
    pub fn partition<R: 'env>(
        self,
        keep: impl Fn(&T) -> bool + 'env,
        branch: impl FnOnce(Pipeline<'env, T>) -> Sink<'env, R> + 'env,
    ) -> Pipeline<'env, T> {
        self.fork("partition", branch, move |value| {
            if keep(&value) { (None, Some(value)) } else { (Some(value), None) }
        })
    }

    /// Gives some to a branch, some on, as `deal` says.
    fn fork<R: 'env>(
        self,
        kind: &'static str,
        branch: impl FnOnce(Pipeline<'env, T>) -> Sink<'env, R> + 'env,
        deal: impl Fn(T) -> (Option<T>, Option<T>) + 'env,
    ) -> Pipeline<'env, T> {
        self.then(move |net, mut settings, before| {
            settings.workers = None;
            let facts = net.stage(kind, &settings);
            let inlet = net.inlet(before, &facts);
            let (to, outlet) = net.outlet(&facts);
            let (aside, branched) = net.outlet_to(&facts, "aside");
            let branched = Outlet { aside: true, ..branched };
            branch(Pipeline::new(move |_, _| branched)).attach(net);
            let give = |to| Emit { to, meter: inlet.meter.clone() };
            let (emit, mut aside) = (give(to), Some(give(aside)));
            net.start(&inlet.meter.clone(), move || {
                while let Some(Item { value, ticket }) = inlet.next()? {
                    let (other, value) = deal(value);
                    let other = other.map(|value| Item { value, ticket: ticket.clone() });
                    let unwanted = pass(&mut aside, other)?;
                    match value {
                        Some(value) => emit.give(value, ticket)?,
                        None => {
                            if let Some(item) = unwanted {
                                inlet.hand_back(item.value);
                                inlet.meter.all_returned();
                            }
                        }
                    }
                }
                Ok(())
            });
            outlet
        })
    }

    /// Gives the items of this one and of `other`, whichever comes first.
    pub fn merge(self, other: Pipeline<'env, T>) -> Pipeline<'env, T> {
        self.join("merge", other, |left, right, emit| {
            let (mut left_open, mut right_open) = (true, true);
            while left_open || right_open {
                left.meter.before_taking();
                let (got, open) = select! {
                    recv(left.rx) -> it if left_open => (left.took(it)?, &mut left_open),
                    recv(right.rx) -> it if right_open => (right.took(it)?, &mut right_open),
                };
                match got {
                    Some(item) => emit.give(item.value, item.ticket)?,
                    None => *open = false,
                }
                left.meter.all_delivered();
            }
            Ok(())
        })
    }

    /// Gives pairs of an item of this one and one of `other`, until one of them ends: at once, also
    /// if the other one waits. An item that is left then is returned.
    pub fn zip<U: 'static>(self, other: Pipeline<'env, U>) -> Pipeline<'env, (T, U)> {
        self.join("zip", other, |left, right, emit: &Emit<(T, U)>| {
            while let Some((one, two)) = both(left, right)? {
                emit.give((one.value, two.value), network::both(one.ticket, two.ticket))?;
                left.meter.all_delivered();
            }
            left.meter.all_returned();
            Ok(())
        })
    }

    /// A stage with two inputs.
    fn join<U: 'static, V: 'static>(
        self,
        kind: &'static str,
        other: Pipeline<'env, U>,
        body: impl FnOnce(&Inlet<T>, &Inlet<U>, &Emit<V>) -> Result<(), Stop> + 'env,
    ) -> Pipeline<'env, V> {
        self.then(move |net, mut settings, left| {
            settings.workers = None;
            let right = other.make(net);
            let facts = net.stage(kind, &settings);
            let left = net.inlet(left, &facts);
            let right = net.inlet_beside(right, &left.meter);
            let (to, outlet) = net.outlet(&facts);
            let emit = Emit { to, meter: left.meter.clone() };
            net.start(&left.meter.clone(), move || body(&left, &right, &emit));
            outlet
        })
    }

    /// Deals the items to `count` copies of the stages that `branch` makes, by a key: items with
    /// equal keys go through the same copy, in their order. Gives what the copies give, whichever
    /// comes first.
    ///
    /// If a copy wants no more, its items are returned from then on, and the others go on.
    ///
    /// # Panics
    /// If `count` is zero.
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let done = run(|| {
    ///     let visits = pipeline::from_iter(["ann", "bob", "ann", "eve", "ann"]);
    ///     let counted = visits.fan_out(2, |name| *name, |_, share| {
    ///         share.scan(std::collections::BTreeMap::new(), |seen, name| {
    ///             let count = seen.entry(name).or_insert(0);
    ///             *count += 1;
    ///             (name, *count)
    ///         })
    ///     });
    ///     counted.filter(|(name, _)| *name == "ann").collect::<Vec<_>>().run()
    /// });
    /// assert_eq!(done.unwrap().value, [("ann", 1), ("ann", 2), ("ann", 3)]);
    /// ```
    pub fn fan_out<K: Hash, U: 'static>(
        self,
        count: usize,
        key: impl Fn(&T) -> K + 'env,
        branch: impl Fn(usize, Pipeline<'env, T>) -> Pipeline<'env, U> + 'env,
    ) -> Pipeline<'env, U> {
        assert!(count > 0, "a fan-out to nobody");
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let whose = move |value: &T| (hasher.hash_one(key(value)) % count as u64) as usize;
        self.deal(count, branch, move |shares, item| {
            pass(&mut shares[whose(&item.value)], Some(item))
        })
    }

    /// Deals the items in turn to `count` copies of the stages that `branch` makes. Gives what the
    /// copies give, whichever comes first.
    ///
    /// If a copy wants no more, it is left out, and the others go on.
    ///
    /// # Panics
    /// If `count` is zero.
    ///
    /// ```
    /// use tasklets::{pipeline, run};
    /// let done = run(|| {
    ///     let numbers = pipeline::from_iter(0..9);
    ///     let limits = [1, 9, 9];
    ///     numbers.round_robin(3, |nth, share| share.take(limits[nth])).count().run()
    /// });
    /// assert_eq!(done.unwrap().value, 9); // the others have got what one did not want
    /// ```
    pub fn round_robin<U: 'static>(
        self,
        count: usize,
        branch: impl Fn(usize, Pipeline<'env, T>) -> Pipeline<'env, U> + 'env,
    ) -> Pipeline<'env, U> {
        assert!(count > 0, "a fan-out to nobody");
        let mut next = 0;
        self.deal(count, branch, move |shares, item| {
            let mut left = Some(item);
            for _ in 0..count {
                let share = &mut shares[next];
                next = (next + 1) % count;
                left = pass(share, left)?;
                if left.is_none() {
                    break;
                }
            }
            Ok(left)
        })
    }

    /// Deals the items to copies by `hand_out`, which gives the item back if nobody has taken it.
    fn deal<U: 'static>(
        self,
        count: usize,
        branch: impl Fn(usize, Pipeline<'env, T>) -> Pipeline<'env, U> + 'env,
        mut hand_out: impl FnMut(&mut Shares<T>, Item<T>) -> Result<Option<Item<T>>, Stop> + 'env,
    ) -> Pipeline<'env, U> {
        self.then(move |net, mut settings, before| {
            settings.workers = None;
            // It gives what it takes; what comes out in the end is given by another stage.
            let back = std::mem::replace(&mut settings.back, net.back_of(&before));
            let facts = net.stage("deal", &settings);
            let inlet = net.inlet(before, &facts);
            let mut shares = Shares::new();
            let mut copies = Vec::new();
            for nth in 0..count {
                let (to, outlet) = net.outlet_to(&facts, nth);
                shares.push(Some(Emit { to, meter: inlet.meter.clone() }));
                copies.push(branch(nth, Pipeline::new(move |_, _| outlet)).make(net));
            }
            net.start(&inlet.meter.clone(), move || {
                while let Some(item) = inlet.next()? {
                    if let Some(left) = hand_out(&mut shares, item)? {
                        inlet.hand_back(left.value);
                        inlet.meter.all_returned();
                        if shares.iter().all(Option::is_none) {
                            return Err(Stop::Unwanted);
                        }
                    }
                }
                Ok(())
            });
            gather(net, copies, Settings { back, ..Settings::default() })
        })
    }
}

/// The ways to copies of stages, as far as they want more.
type Shares<T> = Vec<Option<Emit<T>>>;

/// Gives to a branch, unless that wants no more: then the item comes back, and the way there is
/// closed.
fn pass<T>(to: &mut Option<Emit<T>>, item: Option<Item<T>>) -> Result<Option<Item<T>>, Stop> {
    let Some(item) = item else { return Ok(None) };
    let Some(branch) = to else { return Ok(Some(item)) };
    let back = branch.offer(item)?;
    if back.is_some() {
        *to = None;
    }
    Ok(back)
}

/// One stage that gives what any of `copies` gives.
fn gather<U: 'static>(net: &Net<'_, '_>, copies: Vec<Outlet<U>>, settings: Settings) -> Outlet<U> {
    let facts = net.stage("gather", &settings);
    let (to, outlet) = net.outlet(&facts);
    for copy in copies {
        let inlet = net.inlet(copy, &facts);
        let emit = Emit { to: to.clone(), meter: inlet.meter.clone() };
        net.start(&inlet.meter.clone(), move || {
            while let Some(item) = inlet.next()? {
                emit.give(item.value, item.ticket)?;
            }
            Ok(())
        });
    }
    outlet
}

/// An item of each of two inputs, or the end of one of them.
type Both<T, U> = Option<(Item<T>, Item<U>)>;

/// The next items of both inputs, if there are; what they share counts them. One without the other
/// is handed back.
fn both<T, U>(left: &Inlet<T>, right: &Inlet<U>) -> Result<Both<T, U>, Stop> {
    let (mut one, mut two) = (None, None);
    let mut ended = Ok(false);
    while matches!(ended, Ok(false)) && (one.is_none() || two.is_none()) {
        left.meter.before_taking();
        ended = select! {
            biased;
            recv(left.rx) -> it if one.is_none() => left.took(it).map(|it| {
                one = it;
                one.is_none()
            }),
            recv(right.rx) -> it if two.is_none() => right.took(it).map(|it| {
                two = it;
                two.is_none()
            }),
        };
    }
    match (one, two) {
        (Some(one), Some(two)) => Ok(Some((one, two))),
        (one, two) => {
            one.into_iter().for_each(|it| left.hand_back(it.value));
            two.into_iter().for_each(|it| right.hand_back(it.value));
            ended.map(|_| None)
        }
    }
}
