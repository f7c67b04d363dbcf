//! What a file says about its capture as a whole.
//!
//! Owns the way from a survey to the header and back.

use super::layout::{
    ABSENT, HEADER_BYTES, Header, MAGIC, RECORD_BYTES, RecordedTotals, TASK_BYTES, VERSION, flag,
};
use crate::trace::{Backend, HtabSizes, Survey, TaskId, Unexplained};

/// The header of a file that holds nothing yet, as the survey has it.
pub(super) fn header_of(survey: &Survey, page_bytes: u64) -> Header {
    let whole = &survey.recorded.whole;
    let hint = &survey.kernel_hint;
    let flags = [
        (survey.has_allocations, flag::HAS_ALLOCATIONS),
        (survey.has_touches, flag::HAS_TOUCHES),
        (survey.has_need_records, flag::HAS_NEED_RECORDS),
        (survey.synthesised, flag::SYNTHESISED),
        (survey.page_bytes.is_some(), flag::PAGE_BYTES_SHOWN),
        (hint.backend == Some(Backend::Native), flag::NATIVE),
        (hint.backend == Some(Backend::Lpar), flag::LPAR),
        (hint.release_min.is_some(), flag::RELEASE_6_2),
    ];
    let flags: u32 = flags.iter().filter(|(set, _)| *set).map(|(_, f)| f).sum();
    Header {
        magic: MAGIC,
        version: VERSION.into(),
        header_bytes: (HEADER_BYTES as u16).into(),
        record_bytes: (RECORD_BYTES as u16).into(),
        task_bytes: (TASK_BYTES as u16).into(),
        flags: flags.into(),
        htab_bits: hint.htab_bits.mask().into(),
        page_bytes: u32::try_from(page_bytes).unwrap_or(u32::MAX).into(),
        existing: (survey.pre_existing.len() as u64).into(),
        lines: survey.lines.into(),
        lost_events: survey.lost_events.into(),
        malformed_lines: survey.malformed.lines.into(),
        entries_in_buffer: survey.header.entries_in_buffer.unwrap_or(ABSENT).into(),
        entries_written: survey.header.entries_written.unwrap_or(ABSENT).into(),
        unexplained_touches: survey.unexplained.touches.into(),
        unexplained_frees: survey.unexplained.frees.into(),
        init_mm: survey.recorded.init_mm.unwrap_or(ABSENT).into(),
        counts: RecordedTotals {
            valloc: whole.valloc.into(),
            vfree: whole.vfree.into(),
            kfault: whole.kfault.into(),
            kinsert: whole.kinsert.into(),
            kneed: whole.kneed.into(),
            kflush_page: whole.kflush_page.into(),
            nkbatches: whole.nkbatches.into(),
            kbatched: whole.kbatched.into(),
            tlbie: whole.tlbie.into(),
            tlbiel: whole.tlbiel.into(),
        },
        ..Header::default()
    }
}

/// The survey that the header gives; areas, segments and kinds are filled in by a pass.
pub(super) fn survey_of(
    name: String,
    header: &Header,
    tasks: Vec<TaskId>,
    cpus: Vec<u16>,
) -> Survey {
    let flags = header.flags.get();
    let has = |flag| flags & flag != 0;
    let recorded = |value: u64| Some(value).filter(|&value| value != ABSENT);
    let mut survey = Survey::empty(name);
    survey.lines = header.lines.get();
    survey.records = header.existing.get() + header.operations.get();
    survey.header.entries_in_buffer = recorded(header.entries_in_buffer.get());
    survey.header.entries_written = recorded(header.entries_written.get());
    survey.tasks = tasks;
    survey.cpus = cpus;
    survey.unexplained = Unexplained {
        touches: header.unexplained_touches.get(),
        frees: header.unexplained_frees.get(),
    };
    survey.page_bytes = has(flag::PAGE_BYTES_SHOWN).then(|| header.page_bytes.get().into());
    survey.lost_events = header.lost_events.get();
    survey.malformed.lines = header.malformed_lines.get();
    survey.has_allocations = has(flag::HAS_ALLOCATIONS);
    survey.has_touches = has(flag::HAS_TOUCHES);
    survey.has_need_records = has(flag::HAS_NEED_RECORDS);
    survey.synthesised = has(flag::SYNTHESISED);
    survey.kernel_hint.backend = match (has(flag::NATIVE), has(flag::LPAR)) {
        (_, true) => Some(Backend::Lpar),
        (true, false) => Some(Backend::Native),
        (false, false) => None,
    };
    survey.kernel_hint.htab_bits = HtabSizes::from_mask(header.htab_bits.get()).unwrap_or_default();
    survey.kernel_hint.release_min = has(flag::RELEASE_6_2).then_some("6.2");
    survey.recorded.init_mm = recorded(header.init_mm.get());
    let (whole, counts) = (&mut survey.recorded.whole, &header.counts);
    whole.valloc = counts.valloc.get();
    whole.vfree = counts.vfree.get();
    whole.kfault = counts.kfault.get();
    whole.kinsert = counts.kinsert.get();
    whole.kneed = counts.kneed.get();
    whole.kflush_page = counts.kflush_page.get();
    whole.nkbatches = counts.nkbatches.get();
    whole.kbatched = counts.kbatched.get();
    whole.tlbie = counts.tlbie.get();
    whole.tlbiel = counts.tlbiel.get();
    survey
}
