//! Where each CPU stands, and its mail: what the host threads of a machine tell each other.
//!
//! Owns three protocols. *Time*: each CPU posts its clock, and one that is too far ahead of the slowest
//! waits; a CPU with nothing due stands aside and holds up nobody. *Mail*: invalidations and
//! inter-processor interrupts. *Completion*: a CPU runs guest code in stretches and takes its mail at
//! the beginning of each, so what was posted before now has been taken, or will be before guest code
//! runs, by every CPU that is seen between two stretches; the sender waits for the others. Refuses to
//! know what a letter says and what a CPU runs.
//!
//! The deterministic engine uses the mail alone.

use crate::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Backoff, Bell, CachePadded, Mutex, Ordering, fence,
};
use std::time::Duration;

/// The clock of a CPU that stands aside: it waits for another to give it something to do.
pub(crate) const ASIDE: u64 = u64::MAX;
/// Letters after which a CPU that sleeps is woken to read them, so that its box stays small.
const LETTERS_MAX: usize = 4096;

/// Why a CPU did not come to its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may run until its clock is this many cycles further.
    Run(u64),
    /// Nobody has anything to do and nothing is due.
    Deadlock,
    /// Every thread is to leave.
    Closed,
}

/// What the others leave for a CPU.
#[derive(Default)]
struct Inbox {
    /// When the earliest interrupt from another CPU is due.
    interrupt: Option<u64>,
    /// The CPU waits for an interrupt.
    idle: bool,
}

/// One CPU.
struct Seat<M> {
    /// Its clock, or when it goes on, or [`ASIDE`]. Changes to and from `ASIDE` under `inbox`.
    clock: AtomicU64,
    /// Stretches of guest code begun and ended: odd while it runs one.
    stretches: AtomicU64,
    /// It sleeps until the slowest of the others has come here; `ASIDE` if it does not.
    needs: AtomicU64,
    inbox: Mutex<Inbox>,
    letters: Mutex<Vec<M>>,
    has_letters: AtomicBool,
    bell: Bell,
}

/// All CPUs of a machine.
pub(crate) struct Board<M> {
    seats: Vec<CachePadded<Seat<M>>>,
    /// CPUs that do not stand aside.
    counted: AtomicUsize,
    sleepers: AtomicUsize,
    closed: AtomicBool,
}

impl<M: Clone> Board<M> {
    /// A board of `cpus` CPUs, all aside.
    pub fn new(cpus: usize) -> Self {
        let seat = |_| {
            CachePadded::new(Seat {
                clock: AtomicU64::new(ASIDE),
                stretches: AtomicU64::new(0),
                needs: AtomicU64::new(ASIDE),
                inbox: Mutex::new(Inbox::default()),
                letters: Mutex::new(Vec::new()),
                has_letters: AtomicBool::new(false),
                bell: Bell::default(),
            })
        };
        Board {
            seats: (0..cpus).map(seat).collect(),
            counted: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    // --- mail --------------------------------------------------------------------------------------

    /// Posts a letter to every CPU but `from`.
    pub fn post(&self, from: usize, letter: &M) {
        for (index, seat) in self.seats.iter().enumerate() {
            if index == from {
                continue;
            }
            let mut letters = seat.letters.lock();
            letters.push(letter.clone());
            let many = letters.len() % LETTERS_MAX == 0;
            drop(letters);
            seat.has_letters.store(true, Ordering::SeqCst);
            if many {
                seat.bell.ring();
            }
        }
    }

    /// Takes the letters of a CPU, oldest first.
    #[inline]
    pub fn take_letters(&self, cpu: usize, read: impl FnMut(M)) {
        let seat = &self.seats[cpu];
        if seat.has_letters.swap(false, Ordering::SeqCst) {
            seat.letters.lock().drain(..).for_each(read);
        }
    }

    /// What lies in a CPU's place: letters, and when an interrupt is due. It stays there.
    pub fn look_at(&self, cpu: usize) -> (Vec<M>, Option<u64>)
    where
        M: Clone,
    {
        let seat = &self.seats[cpu];
        let letters = match seat.has_letters.load(Ordering::SeqCst) {
            true => seat.letters.lock().clone(),
            false => Vec::new(),
        };
        (letters, seat.inbox.lock().interrupt)
    }

    /// Puts back what lay there, in place of what lies there. Nobody else may use the board meanwhile.
    pub fn put_back(&self, cpu: usize, (letters, interrupt): &(Vec<M>, Option<u64>))
    where
        M: Clone,
    {
        let seat = &self.seats[cpu];
        self.take_letters(cpu, drop);
        if !letters.is_empty() {
            seat.letters.lock().clone_from(letters);
            seat.has_letters.store(true, Ordering::SeqCst);
        }
        seat.inbox.lock().interrupt = *interrupt;
    }

    /// Leaves an interrupt that is due `at` this time. False if there is no such CPU.
    pub fn send_interrupt(&self, to: usize, at: u64) -> bool {
        let Some(seat) = self.seats.get(to) else {
            return false;
        };
        let mut inbox = seat.inbox.lock();
        inbox.interrupt = Some(inbox.interrupt.map_or(at, |earlier| earlier.min(at)));
        if inbox.idle {
            // Counted from now on: nobody may run away from it while its thread wakes up.
            self.stand(seat, at.min(seat.clock.load(Ordering::SeqCst)));
            drop(inbox);
            seat.bell.ring();
        }
        true
    }

    /// Takes the interrupt that others left for a CPU.
    pub fn take_interrupt(&self, cpu: usize) -> Option<u64> {
        self.seats[cpu].inbox.lock().interrupt.take()
    }

    // --- completion --------------------------------------------------------------------------------

    /// A CPU begins a stretch of guest code; it takes its letters next.
    pub fn begin(&self, cpu: usize) {
        self.seats[cpu].stretches.fetch_add(1, Ordering::SeqCst);
        // Either the sender of a letter sees the stretch, or this CPU sees the letter.
        fence(Ordering::SeqCst);
    }

    /// The stretch is over.
    pub fn end(&self, cpu: usize) {
        self.seats[cpu].stretches.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until no guest code runs on any other CPU that began before what `cpu` posted. `cpu` is
    /// between two stretches itself, so two that wait at once do not wait for each other.
    pub fn complete(&self, cpu: usize) {
        fence(Ordering::SeqCst);
        for (index, seat) in self.seats.iter().enumerate() {
            if index == cpu {
                continue;
            }
            let seen = seat.stretches.load(Ordering::SeqCst);
            let backoff = Backoff::new();
            while seen % 2 == 1
                && seat.stretches.load(Ordering::SeqCst) == seen
                && !self.is_closed()
            {
                backoff.snooze();
            }
        }
    }

    // --- time --------------------------------------------------------------------------------------

    /// Counts the CPUs that take part, each with its clock; all others are aside. No thread runs yet.
    pub fn open(&self, clocks: impl IntoIterator<Item = (usize, u64)>) {
        self.closed.store(false, Ordering::SeqCst);
        self.counted.store(0, Ordering::SeqCst);
        for seat in &self.seats {
            seat.clock.store(ASIDE, Ordering::SeqCst);
            seat.inbox.lock().idle = false;
        }
        for (cpu, clock) in clocks {
            if let Some(seat) = self.seats.get(cpu) {
                self.stand(seat, clock);
            }
        }
    }

    /// Ends every wait: the threads are to leave.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// True after [`Board::close`].
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Lets every thread that sleeps look again.
    pub fn ring(&self) {
        for seat in &self.seats {
            seat.bell.ring();
        }
    }

    /// The CPU that is furthest behind, if any is counted.
    pub fn slowest(&self) -> Option<u64> {
        Some(self.slowest_but(usize::MAX)).filter(|&clock| clock != ASIDE)
    }

    /// Waits for the turn of `cpu`: until its clock is less than `quantum` ahead of the slowest other one.
    /// `ready` is given the interrupt that others left, and says when the CPU goes on ([`ASIDE`] for
    /// never by itself) and whether it waits for an interrupt till then. `look` is called after each
    /// sleep, which lasts no longer than `sleep` if that is given.
    pub fn turn(
        &self,
        cpu: usize,
        quantum: u64,
        sleep: Option<Duration>,
        mut ready: impl FnMut(Option<u64>) -> (u64, bool),
        mut look: impl FnMut(),
    ) -> Turn {
        let backoff = Backoff::new();
        loop {
            if self.is_closed() {
                return Turn::Closed;
            }
            let seat = &self.seats[cpu];
            let mut inbox = seat.inbox.lock();
            let (at, idle) = ready(inbox.interrupt.take());
            inbox.idle = idle;
            let alone = self.stand(seat, at);
            drop(inbox);
            self.wake_sleepers();
            if alone {
                return Turn::Deadlock;
            }
            let limit = self.slowest_but(cpu).saturating_add(quantum);
            if at < limit {
                return Turn::Run(limit - at);
            }
            if at != ASIDE && !backoff.is_completed() {
                backoff.snooze();
                continue;
            }
            let needs = match at {
                ASIDE => ASIDE,
                at => at.saturating_sub(quantum).saturating_add(1),
            };
            self.sleep(cpu, needs, sleep);
            look();
        }
    }

    /// The CPU waits for something else than an interrupt, which [`Board::rouse`] will end. True if nobody
    /// is left.
    pub fn stand_aside(&self, cpu: usize) -> bool {
        let seat = &self.seats[cpu];
        let inbox = seat.inbox.lock();
        let alone = self.stand(seat, ASIDE);
        drop(inbox);
        self.wake_sleepers();
        alone
    }

    /// Where a CPU stands; [`ASIDE`] if it is not counted.
    pub fn clock(&self, cpu: usize) -> u64 {
        self.seats[cpu].clock.load(Ordering::SeqCst)
    }

    /// Counts a CPU that stood aside, and wakes it.
    pub fn rouse(&self, cpu: usize, clock: u64) {
        let Some(seat) = self.seats.get(cpu) else {
            return;
        };
        let inbox = seat.inbox.lock();
        if seat.clock.load(Ordering::SeqCst) == ASIDE {
            self.stand(seat, clock);
        }
        drop(inbox);
        seat.bell.ring();
    }

    /// Sleeps until the slowest other CPU has come to `needs`, or somebody rings, or `most` has passed.
    pub fn sleep(&self, cpu: usize, needs: u64, most: Option<Duration>) {
        let seat = &self.seats[cpu];
        seat.needs.store(needs, Ordering::SeqCst);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // Either the one that moves on sees the sleeper, or the sleeper sees its clock.
        fence(Ordering::SeqCst);
        let due = needs != ASIDE && self.slowest_but(cpu) >= needs;
        if !due && !self.is_closed() {
            seat.bell.wait(most);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        seat.needs.store(ASIDE, Ordering::SeqCst);
    }

    /// Posts where a CPU stands; its inbox is locked. True if it was the last one counted.
    fn stand(&self, seat: &Seat<M>, at: u64) -> bool {
        match (seat.clock.load(Ordering::SeqCst), at) {
            (ASIDE, ASIDE) => false,
            (ASIDE, _) => {
                self.counted.fetch_add(1, Ordering::SeqCst);
                seat.clock.store(at, Ordering::SeqCst);
                false
            }
            (_, ASIDE) => {
                seat.clock.store(ASIDE, Ordering::SeqCst);
                self.counted.fetch_sub(1, Ordering::SeqCst) == 1
            }
            _ => {
                seat.clock.store(at, Ordering::SeqCst);
                false
            }
        }
    }

    fn slowest_but(&self, cpu: usize) -> u64 {
        let others = self.seats.iter().enumerate().filter(|(i, _)| *i != cpu);
        others
            .map(|(_, seat)| seat.clock.load(Ordering::SeqCst))
            .min()
            .unwrap_or(ASIDE)
    }

    /// Wakes those who slept for what the slowest has come to.
    fn wake_sleepers(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            return;
        }
        // The two that are furthest behind say it for everybody.
        let (mut first, mut second, mut who) = (ASIDE, ASIDE, usize::MAX);
        for (index, seat) in self.seats.iter().enumerate() {
            let clock = seat.clock.load(Ordering::SeqCst);
            if clock < first {
                (first, second, who) = (clock, first, index);
            } else if clock < second {
                second = clock;
            }
        }
        for (index, seat) in self.seats.iter().enumerate() {
            let needs = seat.needs.load(Ordering::SeqCst);
            let slowest = if index == who { second } else { first };
            if needs != ASIDE && slowest >= needs {
                seat.bell.ring();
            }
        }
    }
}
