//! The steps a task can make: each word with its operands.
//!
//! Owns the list. Refuses to say how a step is made: `steps` does.

/// What an operand may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Page,
    Frame,
    /// A variable, or the first doubleword of a frame.
    Word,
    Cpu,
    /// A slot: a number, a register, or `of REG` for the one that a PTE records.
    Slot,
    /// A register.
    Register,
    /// A number or a register.
    Number,
    /// A PTE: `none`, a register, or `FRAME rw|ro` with flags; then `+FLAG` and `-FLAG`.
    Pte,
    /// Flags of a PTE alone: `+FLAG` and `-FLAG`.
    PteChange,
    /// Doubleword 0 of an entry: `none`, `valid`, a register; then `+locked`, `-locked`.
    EntryV,
    /// Doubleword 1 of an entry: a register, or `FRAME rw|ro` and `r`, `c`.
    EntryR,
    /// `rw` or `ro`.
    Protection,
    /// `load` or `store`: 0 or 1.
    Access,
}

impl Kind {
    pub const fn usage(self) -> &'static str {
        match self {
            Kind::Page => "PAGE",
            Kind::Frame => "FRAME",
            Kind::Word => "VARIABLE",
            Kind::Cpu => "CPU",
            Kind::Slot => "SLOT",
            Kind::Register => "REG",
            Kind::Number => "NUMBER",
            Kind::Pte => "PTE",
            Kind::PteChange => "+FLAG|-FLAG",
            Kind::EntryV => "valid|none|REG",
            Kind::EntryR => "FRAME rw|ro",
            Kind::Protection => "rw|ro",
            Kind::Access => "load|store",
        }
    }
}

macro_rules! words {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal [$($kind:ident),*] $gives:literal;)*) => {
        /// A word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Word {
            $($(#[doc = $doc])* $variant,)*
        }

        /// Each word, its operands, and whether it gives a result.
        const WORDS: &[(&str, Word, &[Kind], bool)] = &[
            $(($text, Word::$variant, &[$(Kind::$kind),*], $gives),)*
        ];
    };
}

words! {
    /// Loads a PTE.
    PteLoad = "pte_load" [Page] true;
    /// Stores a PTE, whatever it holds.
    PteStore = "pte_store" [Page, Pte] false;
    /// ldarx of a PTE.
    PteReserve = "pte_reserve" [Page] true;
    /// stdcx. to a PTE: 1 if it stored.
    PteConditional = "pte_conditional" [Page, Pte] true;
    /// pte_update(): changes flags under ldarx and stdcx., waits while BUSY; gives what was there.
    PteUpdate = "pte_update" [Page, PteChange] true;
    /// ptep_get_and_clear(): the same, all bits cleared.
    PteClear = "pte_clear" [Page] true;
    /// hpte_insert(): gives the slot, 16 if both groups are full.
    HpteInsert = "hpte_insert" [Page, EntryR] true;
    /// hpte_remove() of the primary group: 1 if one was evicted.
    HpteRemove = "hpte_remove" [Page] true;
    /// hpte_updatepp() without its tlbie: 1 if the slot held the page.
    HpteUpdatepp = "hpte_updatepp" [Page, Slot, Protection] true;
    /// hpte_invalidate() without its tlbie: 1 if the slot held the page.
    HpteInvalidate = "hpte_invalidate" [Page, Slot] true;
    /// native_lock_hpte().
    HpteLock = "hpte_lock" [Page, Slot] false;
    /// native_unlock_hpte().
    HpteUnlock = "hpte_unlock" [Page, Slot] false;
    /// Loads doubleword 0.
    HpteLoadV = "hpte_load_v" [Page, Slot] true;
    /// Loads doubleword 1.
    HpteLoadR = "hpte_load_r" [Page, Slot] true;
    /// Stores doubleword 0.
    HpteStoreV = "hpte_store_v" [Page, Slot, EntryV] false;
    /// Stores doubleword 1.
    HpteStoreR = "hpte_store_r" [Page, Slot, EntryR] false;
    /// tlbie.
    Tlbie = "tlbie" [Page] false;
    /// tlbiel.
    Tlbiel = "tlbiel" [Page] false;
    /// tlbsync.
    Tlbsync = "tlbsync" [] false;
    /// ptesync.
    Ptesync = "ptesync" [] false;
    /// eieio.
    Eieio = "eieio" [] false;
    /// isync.
    Isync = "isync" [] false;
    /// lwsync.
    Lwsync = "lwsync" [] false;
    /// ptesync; tlbie; eieio; tlbsync; ptesync.
    Flush = "flush" [Page] false;
    /// ptesync; tlbiel; ptesync.
    FlushLocal = "flush_local" [Page] false;
    /// Loads through the page: what it held, or `fault`.
    Load = "load" [Page] true;
    /// Stores through the page: 0, or `fault`.
    Store = "store" [Page, Number] true;
    /// __hash_page_4K(): 0 done or BUSY, 1 the PTE does not allow it.
    HashPage = "hash_page" [Page, Access] true;
    /// Loads a variable.
    Read = "read" [Word] true;
    /// Stores to one.
    Write = "write" [Word, Number] false;
    /// ldarx of one.
    Reserve = "reserve" [Word] true;
    /// stdcx. to one: 1 if it stored.
    Conditional = "conditional" [Word, Number] true;
    /// Waits until it is 0, then sets it to 1: a spin lock.
    Lock = "lock" [Word] false;
    /// Sets it to 0.
    Unlock = "unlock" [Word] false;
    /// This CPU's batch: its address.
    ThisBatch = "this_batch" [] true;
    /// Whether a batch is active.
    BatchActive = "batch_active" [Register] true;
    /// Sets that.
    BatchActivate = "batch_activate" [Register, Number] false;
    /// Entries queued.
    BatchIndex = "batch_index" [Register] true;
    /// Queues a page with its old PTE.
    BatchAdd = "batch_add" [Register, Page, Pte] false;
    /// __flush_tlb_pending(): as many as the first says, from the second; the first's index is then 0.
    BatchFlush = "batch_flush" [Register, Register] false;
    /// Disables external interrupts.
    IrqDisable = "local_irq_disable" [] false;
    /// Enables them.
    IrqEnable = "local_irq_enable" [] false;
    /// Adds 1 to the task's preempt count.
    PreemptDisable = "preempt_disable" [] false;
    /// Takes 1 from it.
    PreemptEnable = "preempt_enable" [] false;
    /// The number of the CPU.
    Cpu = "cpu" [] true;
    /// Goes on on another CPU, unless interrupts or preemption are disabled.
    Migrate = "migrate" [Cpu] false;
    /// Gives a frame back: no access may reach it from then on.
    Free = "free" [Frame] false;
}

impl Word {
    /// The word of a text, with its operands and whether it gives a result.
    pub fn find(text: &str) -> Option<(Word, &'static [Kind], bool)> {
        let known = WORDS.iter().find(|(known, ..)| *known == text)?;
        Some((known.1, known.2, known.3))
    }

    /// The words there are.
    pub fn all() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(text, ..)| *text)
    }
}
