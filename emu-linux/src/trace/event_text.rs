//! How an event is written, in the form the kernel prints it (kprobe hit addresses left out).

use super::Event;
use std::fmt;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Event::Valloc { size } => write!(f, "size={size}"),
            Event::Vmap { start, end } | Event::Valazy { start, end } => {
                write!(f, "start={start:#x} end={end:#x}")
            }
            Event::Vallocret { addr } | Event::Vfree { addr } => write!(f, "addr={addr:#x}"),
            Event::AllocVmapArea {
                va_start,
                size,
                align,
                vstart,
                vend,
                failed,
            } => write!(
                f,
                "va_start: {va_start} size={size} align={align} vstart={vstart:#x} vend={vend:#x} \
                 failed={failed}"
            ),
            Event::FreeVmapAreaNoflush {
                va_start,
                nr_lazy,
                nr_lazy_max,
            } => {
                write!(
                    f,
                    "va_start={va_start:#x} nr_lazy={nr_lazy} nr_lazy_max={nr_lazy_max}"
                )
            }
            Event::PurgeVmapAreaLazy {
                start,
                end,
                num_purged,
            } => {
                write!(f, "start={start:#x} end={end:#x} num_purged={num_purged}")
            }
            Event::Mark(text) => f.write_str(text),
            _ => self.fmt_hash(f),
        }
    }
}

impl Event {
    /// The events of the hash table, its flushes, and what reaches hardware or hypervisor.
    fn fmt_hash(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::HashFault { addr, access, trap } => write!(
                f,
                "hash fault with addr {addr:#x} and access = {access:#x} trap = {trap:#x}"
            ),
            Event::Need {
                mm,
                addr,
                pte,
                huge,
            } => {
                write!(f, "mm={mm:#x} addr={addr:#x} pte={pte:#x} huge={huge}")
            }
            Event::Pending { active, index, mm } => {
                write!(f, "active={active} index={index} mm={mm:#x}")
            }
            Event::Fpage { vpn, psize, local } => {
                write!(f, "vpn={vpn:#x} psize={psize} local={local}")
            }
            Event::Frange { number, local, .. } => write!(f, "number={number} local={local}"),
            Event::Hpins {
                group,
                vpn,
                pa,
                rflags,
                vflags,
                psize,
            } => write!(
                f,
                "group={group} vpn={vpn:#x} pa={pa:#x} rflags={rflags:#x} vflags={vflags:#x} \
                 psize={psize}"
            ),
            Event::Hpinsret { slot } => write!(f, "slot={slot}"),
            Event::Hpupd { slot, newpp, vpn } => {
                write!(f, "slot={slot} newpp={newpp:#x} vpn={vpn:#x}")
            }
            Event::Hprem { group } => write!(f, "group={group}"),
            Event::Hpinv {
                slot,
                vpn,
                psize,
                local,
            } => {
                write!(f, "slot={slot} vpn={vpn:#x} psize={psize} local={local}")
            }
            Event::Tlbie {
                lpid,
                local,
                rb,
                rs,
                ric,
                prs,
                r,
            } => write!(
                f,
                "lpid={lpid}, local={local}, rb={rb:#x}, rs={rs:#x}, ric={ric:#x}, prs={prs:#x}, \
                 r={r:#x}"
            ),
            Event::HcallEntry { opcode } => write!(f, "opcode={opcode}"),
            Event::HcallExit { opcode, retval } => write!(f, "opcode={opcode} retval={retval}"),
            _ => Ok(()),
        }
    }
}
