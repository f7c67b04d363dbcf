//! The check of the fuzz target over arbitrary bytes, lines made of the grammar, and mutations of a
//! committed capture.

use arbitrary::Unstructured;
use emu_linux::trace::fuzzing::check;
use std::io::Read;
use std::path::Path;

#[test]
fn arbitrary_bytes() {
    arbtest::arbtest(|u| {
        check(u.bytes(u.len())?);
        Ok(())
    })
    .budget_ms(1000);
}

/// One record of a small address range, so that areas meet.
fn line(u: &mut Unstructured<'_>, text: &mut String) -> arbitrary::Result<()> {
    let mut page = || -> arbitrary::Result<u64> {
        let offset = u.int_in_range(0..=24u64)?;
        Ok(if u.ratio(1, 40)? {
            u64::MAX - 4095
        } else {
            0xc000_3d00_0000_0000 + offset * 4096
        })
    };
    let (a, b) = (page()?, page()?);
    let event = match u.int_in_range(0..=13)? {
        0 => format!("valloc: size={}", u.int_in_range(0..=20000u64)?),
        1 | 2 => format!("vmap: start={:#x} end={:#x}", a.min(b), a.max(b)),
        3 => format!("vallocret: addr={a:#x}"),
        4 | 5 => format!("vfree: addr={a:#x}"),
        6 => format!("valazy: start={a:#x} end={b:#x}"),
        7..=9 => format!("hash_fault: hash fault with addr {a:#x} and access = 0x2 trap = 0x300"),
        10 => format!("need: mm=0x1 addr={a:#x} pte=0x2 huge=0"),
        11 => format!(
            "hpins: group=8 vpn={:#x} pa=0x0 rflags=0x0 vflags=0x0 psize=0",
            a >> 12
        ),
        12 => format!("fpage: vpn={:#x} psize=0 local=0", a >> 12),
        _ => "tracing_mark_write: begin x".to_string(),
    };
    let (pid, cpu) = (u.int_in_range(1..=3)?, u.int_in_range(0..=1)?);
    *text += &format!("  t-{pid} [00{cpu}] ..... 1.0: {event}\n");
    Ok(())
}

#[test]
fn records_in_any_order() {
    arbtest::arbtest(|u| {
        let mut text = "# tracer: nop\n".to_string();
        let only = u.int_in_range(0..=3)?;
        while !u.is_empty() && text.len() < 20_000 {
            let before = text.len();
            line(u, &mut text)?;
            // frees and queued pages alone take the other way
            if only == 0
                && ["alloc", "vmap", "hash_f"]
                    .iter()
                    .any(|n| text[before..].contains(n))
            {
                text.truncate(before);
            }
        }
        check(text.as_bytes());
        Ok(())
    })
    .budget_ms(3000);
}

#[test]
fn mutations_of_a_capture() {
    let path = "../traces/captures/variants-powernv-4k-mmotm.txt.gz";
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a capture");
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_end(&mut text)
        .expect("gzip");
    check(&bytes);
    check(&text);
    arbtest::arbtest(|u| {
        let mut lines: Vec<Vec<u8>> = text
            .split_inclusive(|&b| b == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let first = u.int_in_range(0..=lines.len() - 400)?;
        lines.drain(..first);
        lines.truncate(400);
        for _ in 0..u.int_in_range(0..=8)? {
            let (at, other) = (u.choose_index(lines.len())?, u.choose_index(lines.len())?);
            match u.int_in_range(0..=4)? {
                0 => lines.swap(at, other),
                1 => lines[at] = lines[other].clone(),
                2 => lines[at].truncate(other),
                3 if !lines[at].is_empty() => {
                    let byte = u.choose_index(lines[at].len())?;
                    lines[at][byte] ^= 1 << u.int_in_range(0..=7)?;
                }
                _ => drop(lines.remove(at)),
            }
        }
        check(&lines.concat());
        Ok(())
    })
    .budget_ms(3000);
}
