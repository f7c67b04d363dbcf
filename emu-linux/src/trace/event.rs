//! The events the importer knows: their fields, their text, and parsing of that text.
//!
//! Kprobe names are those of [`recipe`](super::recipe()); tracepoints are the kernel's own (Linux
//! arch/powerpc/include/asm/trace.h, include/trace/events/vmalloc.h). Other events are refused here
//! and counted by the reader.

use super::Malformed;
use super::fields::{Args, find};

/// Which range flush a `frange`, `nfrange` or `lfrange` record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeFlush {
    /// `flush_hash_range`.
    Generic,
    /// `native_flush_hash_range`.
    Native,
    /// `pSeries_lpar_flush_hash_range`.
    Lpar,
}

/// What a record says. Field names are those of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields carry the names the kernel prints; the variants say what they are"
)]
pub enum Event {
    /// Entry of `__vmalloc_node_range`: bytes asked for.
    Valloc { size: u64 },
    /// Return of `alloc_vmap_area`: the area, guard page included; 0 and 0 if it failed.
    Vmap { start: u64, end: u64 },
    /// Return of `__vmalloc_node_range`; 0 if it failed.
    Vallocret { addr: u64 },
    /// Entry of `remove_vm_area` or `vfree`.
    Vfree { addr: u64 },
    /// Entry of `free_vmap_area_noflush`.
    Valazy { start: u64, end: u64 },
    /// `hpte_need_flush`: a hashed PTE was changed.
    Need {
        mm: u64,
        addr: u64,
        pte: u64,
        huge: i64,
    },
    /// `__flush_tlb_pending`: a batch of `index` entries is flushed.
    Pending { active: i64, index: u64, mm: u64 },
    /// `flush_hash_page`.
    Fpage { vpn: u64, psize: i64, local: u64 },
    /// A range flush of `number` entries.
    Frange {
        routine: RangeFlush,
        number: u64,
        local: i64,
    },
    /// HPTE insert; `group` is 8 times the group number, `vpn` in units of 4 KiB.
    Hpins {
        group: u64,
        vpn: u64,
        pa: u64,
        rflags: u64,
        vflags: u64,
        psize: i64,
    },
    /// What the insert returned: the slot, or a negative number.
    Hpinsret { slot: i64 },
    /// HPTE protection update.
    Hpupd { slot: u64, newpp: u64, vpn: u64 },
    /// `native_hpte_remove`: room was made in a full group.
    Hprem { group: u64 },
    /// HPTE invalidate.
    Hpinv {
        slot: u64,
        vpn: u64,
        psize: i64,
        local: i64,
    },
    /// Tracepoint `powerpc:hash_fault`.
    HashFault { addr: u64, access: u64, trap: u64 },
    /// Tracepoint `powerpc:tlbie`.
    Tlbie {
        lpid: i64,
        local: i64,
        rb: u64,
        rs: u64,
        ric: u64,
        prs: u64,
        r: u64,
    },
    /// Tracepoint `powerpc:hcall_entry`.
    HcallEntry { opcode: u64 },
    /// Tracepoint `powerpc:hcall_exit`.
    HcallExit { opcode: u64, retval: i64 },
    /// Tracepoint `vmalloc:alloc_vmap_area` (Linux 6.2 and later); `va_start` is printed in decimal.
    AllocVmapArea {
        va_start: u64,
        size: u64,
        align: u64,
        vstart: u64,
        vend: u64,
        failed: i64,
    },
    /// Tracepoint `vmalloc:free_vmap_area_noflush`.
    FreeVmapAreaNoflush {
        va_start: u64,
        nr_lazy: u64,
        nr_lazy_max: u64,
    },
    /// Tracepoint `vmalloc:purge_vmap_area_lazy`.
    PurgeVmapAreaLazy {
        start: u64,
        end: u64,
        num_purged: u64,
    },
    /// Text written to `trace_marker`.
    Mark(Box<str>),
}

impl Event {
    /// The event `name` with the text after `name: `; `Ok(None)` if the name is not known.
    pub(crate) fn parse(name: &[u8], text: &[u8]) -> Result<Option<Event>, Malformed> {
        let args = Args::new(match text {
            // kprobes print where they hit: "(vfree+0xc/0x24c) addr=..."
            [b'(', ..] => find(text, b") ").map_or(text, |at| &text[at + 2..]),
            _ => text,
        });
        let event = match name {
            b"valloc" => Event::Valloc {
                size: args.u64("size")?,
            },
            b"vmap" => Event::Vmap {
                start: args.fetched("start")?,
                end: args.fetched("end")?,
            },
            b"vallocret" => Event::Vallocret {
                addr: args.u64("addr")?,
            },
            b"vfree" => Event::Vfree {
                addr: args.u64("addr")?,
            },
            b"valazy" => Event::Valazy {
                start: args.u64("start")?,
                end: args.u64("end")?,
            },
            b"alloc_vmap_area" => Event::AllocVmapArea {
                va_start: args.u64("va_start")?,
                size: args.u64("size")?,
                align: args.u64("align")?,
                vstart: args.u64("vstart")?,
                vend: args.u64("vend")?,
                failed: args.i64("failed")?,
            },
            b"free_vmap_area_noflush" => Event::FreeVmapAreaNoflush {
                va_start: args.u64("va_start")?,
                nr_lazy: args.u64("nr_lazy")?,
                nr_lazy_max: args.u64("nr_lazy_max")?,
            },
            b"purge_vmap_area_lazy" => Event::PurgeVmapAreaLazy {
                start: args.u64("start")?,
                end: args.u64("end")?,
                num_purged: args.u64("num_purged")?,
            },
            b"tracing_mark_write" => Event::Mark(String::from_utf8_lossy(text).into()),
            _ => return Event::parse_hash(name, &args),
        };
        Ok(Some(event))
    }

    /// The events of the hash page table and its flushes.
    fn parse_hash(name: &[u8], args: &Args<'_>) -> Result<Option<Event>, Malformed> {
        let frange = |routine| {
            let (number, local) = (args.u64("number")?, args.i64("local")?);
            Ok(Event::Frange {
                routine,
                number,
                local,
            })
        };
        let event = match name {
            b"hash_fault" => Event::HashFault {
                addr: args.u64("addr")?,
                access: args.u64("access")?,
                trap: args.u64("trap")?,
            },
            b"need" => Event::Need {
                mm: args.u64("mm")?,
                addr: args.u64("addr")?,
                pte: args.u64("pte")?,
                huge: args.i64("huge")?,
            },
            b"pending" => Event::Pending {
                active: args.i64("active")?,
                index: args.u64("index")?,
                mm: args.u64("mm")?,
            },
            b"fpage" => Event::Fpage {
                vpn: args.u64("vpn")?,
                psize: args.i64("psize")?,
                local: args.u64("local")?,
            },
            b"frange" => frange(RangeFlush::Generic)?,
            b"nfrange" => frange(RangeFlush::Native)?,
            b"lfrange" => frange(RangeFlush::Lpar)?,
            _ => return Event::parse_hpte(name, args),
        };
        Ok(Some(event))
    }

    /// The events of one HPTE, and what reaches the hardware or the hypervisor.
    fn parse_hpte(name: &[u8], args: &Args<'_>) -> Result<Option<Event>, Malformed> {
        let event = match name {
            b"hpins" => Event::Hpins {
                group: args.u64("group")?,
                vpn: args.u64("vpn")?,
                pa: args.u64("pa")?,
                rflags: args.u64("rflags")?,
                vflags: args.u64("vflags")?,
                psize: args.i64("psize")?,
            },
            b"hpinsret" => Event::Hpinsret {
                slot: args.i64("slot")?,
            },
            b"hpupd" => Event::Hpupd {
                slot: args.u64("slot")?,
                newpp: args.u64("newpp")?,
                vpn: args.u64("vpn")?,
            },
            b"hprem" => Event::Hprem {
                group: args.u64("group")?,
            },
            b"hpinv" => Event::Hpinv {
                slot: args.u64("slot")?,
                vpn: args.u64("vpn")?,
                psize: args.i64("psize")?,
                local: args.i64("local")?,
            },
            b"tlbie" => Event::Tlbie {
                lpid: args.i64("lpid")?,
                local: args.i64("local")?,
                rb: args.u64("rb")?,
                rs: args.u64("rs")?,
                ric: args.u64("ric")?,
                prs: args.u64("prs")?,
                r: args.u64("r")?,
            },
            b"hcall_entry" => Event::HcallEntry {
                opcode: args.u64("opcode")?,
            },
            b"hcall_exit" => Event::HcallExit {
                opcode: args.u64("opcode")?,
                retval: args.i64("retval")?,
            },
            _ => return Ok(None),
        };
        Ok(Some(event))
    }

    /// The name in the text.
    pub fn name(&self) -> &'static str {
        NAMES[self.index()]
    }

    /// The place of its name in [`NAMES`].
    pub(crate) fn index(&self) -> usize {
        match self {
            Event::Valloc { .. } => 0,
            Event::Vmap { .. } => 1,
            Event::Vallocret { .. } => 2,
            Event::Vfree { .. } => 3,
            Event::Valazy { .. } => 4,
            Event::Need { .. } => 5,
            Event::Pending { .. } => 6,
            Event::Fpage { .. } => 7,
            Event::Frange {
                routine: RangeFlush::Generic,
                ..
            } => 8,
            Event::Frange {
                routine: RangeFlush::Native,
                ..
            } => 9,
            Event::Frange {
                routine: RangeFlush::Lpar,
                ..
            } => 10,
            Event::Hpins { .. } => 11,
            Event::Hpinsret { .. } => 12,
            Event::Hpupd { .. } => 13,
            Event::Hprem { .. } => 14,
            Event::Hpinv { .. } => 15,
            Event::HashFault { .. } => 16,
            Event::Tlbie { .. } => 17,
            Event::HcallEntry { .. } => 18,
            Event::HcallExit { .. } => 19,
            Event::AllocVmapArea { .. } => 20,
            Event::FreeVmapAreaNoflush { .. } => 21,
            Event::PurgeVmapAreaLazy { .. } => 22,
            Event::Mark(_) => 23,
        }
    }
}

/// Every event name the parser knows.
pub(crate) const NAMES: [&str; 24] = [
    "valloc",
    "vmap",
    "vallocret",
    "vfree",
    "valazy",
    "need",
    "pending",
    "fpage",
    "frange",
    "nfrange",
    "lfrange",
    "hpins",
    "hpinsret",
    "hpupd",
    "hprem",
    "hpinv",
    "hash_fault",
    "tlbie",
    "hcall_entry",
    "hcall_exit",
    "alloc_vmap_area",
    "free_vmap_area_noflush",
    "purge_vmap_area_lazy",
    "tracing_mark_write",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_the_event_of_that_name() {
        let fields =
            b"size=1 start=1 end=1 addr=1 mm=1 pte=1 huge=1 active=1 index=1 vpn=1 psize=1 \
            local=1 number=1 group=1 pa=1 rflags=1 vflags=1 slot=1 newpp=1 access=1 trap=1 lpid=1 \
            rb=1 rs=1 ric=1 prs=1 r=1 opcode=1 retval=1 va_start=1 align=1 vstart=1 vend=1 \
            failed=1 nr_lazy=1 nr_lazy_max=1 num_purged=1";
        for name in NAMES {
            let event = Event::parse(name.as_bytes(), fields).unwrap().unwrap();
            assert_eq!(event.name(), name);
        }
        assert_eq!(Event::parse(b"sched_switch", fields), Ok(None));
    }

    #[test]
    fn fields_may_stand_in_any_order() {
        let expected = Event::Pending {
            active: -1,
            index: 2,
            mm: 3,
        };
        for text in [
            "active=-1 index=2 mm=0x3",
            "mm=3, xindex=9 index=2 active=-1",
            "(f+1) index=2 mm=3 active=-1",
        ] {
            assert_eq!(
                Event::parse(b"pending", text.as_bytes()),
                Ok(Some(expected.clone())),
                "{text}"
            );
        }
        let failed = Event::parse(b"vmap", b"start=(fault) end=(fault)");
        assert_eq!(failed, Ok(Some(Event::Vmap { start: 0, end: 0 })));
        let huge = Event::parse(b"valloc", b"size=18446744073709551616");
        assert_eq!(huge, Err(Malformed::Number("size")));
    }
}
