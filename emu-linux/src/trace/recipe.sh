#!/bin/sh
# Records a capture of kernel mappings for replay. Run as root on a 64-bit PowerPC kernel that uses
# the hash MMU (boot with disable_radix where needed), built with CONFIG_KPROBE_EVENTS=y.
# Record on ONE CPU (boot with maxcpus=1) if counts are to be compared: with several, kprobes in
# preemptible code may disturb what they measure, and tlbie also counts user pages.
set -eu
mount -t tracefs nodev /sys/kernel/tracing 2>/dev/null || true
cd /sys/kernel/tracing

echo 0 > tracing_on
echo nop > current_tracer
echo > trace
echo > kprobe_events
# Large enough that nothing is overwritten: entries-in-buffer must equal entries-written.
echo 65536 > buffer_size_kb

# A probe whose function this kernel does not have is skipped, and the message says which.
probe() { echo "$1" >> kprobe_events 2>/dev/null || echo "no $2" >&2; }
enable() { echo 1 > "events/$1/enable" 2>/dev/null || echo "no $1: $2" >&2; }

# Needed for the replay.
# From Linux 6.10 on the function is called __vmalloc_node_range_noprof. r10: ten returns at a time,
# because vmalloc nests and sleeps.
fn=__vmalloc_node_range
grep -q " ${fn}_noprof\$" /proc/kallsyms && fn=${fn}_noprof
probe "p:kprobes/valloc $fn size=%gpr3:u64" 'valloc: bytes asked for'
probe "r10:kprobes/vallocret $fn addr=\$retval:x64" 'vallocret: when the area is mapped'
# Start and end of each area, guard page included (Linux 6.1: struct vmap_area begins with them).
# From Linux 6.2 on the tracepoint vmalloc:alloc_vmap_area below says the same.
probe \
'r10:kprobes/vmap alloc_vmap_area start=+0($retval):x64 end=+8($retval):x64' 'vmap: area bounds'
# Frees, of vfree, vunmap and iounmap alike. Where remove_vm_area is inlined, probe vfree.
free=vfree
grep -q ' remove_vm_area$' /proc/kallsyms && free=remove_vm_area
probe "p:kprobes/vfree $free addr=%gpr3:x64" 'vfree: frees'
probe \
'p:kprobes/valazy free_vmap_area_noflush start=+0(%gpr3):x64 end=+8(%gpr3):x64' 'valazy: area ends'

# For comparison only: what the kernel did with its hash table and its batches.
# gpr numbers are the arguments of the 6.1 functions with 4K pages; with 64K pages flush_hash_page
# takes one register more (psize=%gpr6:s32 local=%gpr8:u64).
probe \
'p:kprobes/need hpte_need_flush mm=%gpr3:x64 addr=%gpr4:x64 pte=%gpr6:x64 huge=%gpr7:s32' 'need'
probe \
'p:kprobes/pending __flush_tlb_pending active=+0(%gpr3):s32 index=+8(%gpr3):u64 mm=+16(%gpr3):x64' \
pending
probe \
'p:kprobes/fpage flush_hash_page vpn=%gpr3:x64 psize=%gpr5:s32 local=%gpr7:u64' fpage
probe \
'p:kprobes/frange flush_hash_range number=%gpr3:u64 local=%gpr4:s32' frange
probe \
'p:kprobes/nfrange native_flush_hash_range number=%gpr3:u64 local=%gpr4:s32' nfrange
probe \
'p:kprobes/lfrange pSeries_lpar_flush_hash_range number=%gpr3:u64 local=%gpr4:s32' lfrange
# Native machines; on pseries write pSeries_lpar_hpte_insert and so on.
hpte=native_hpte
[ -e /proc/ppc64/lparcfg ] && hpte=pSeries_lpar_hpte
probe \
"p:kprobes/hpins ${hpte}_insert group=%gpr3:u64 vpn=%gpr4:x64 pa=%gpr5:x64 rflags=%gpr6:x64 \
vflags=%gpr7:x64 psize=%gpr8:s32" hpins
probe \
"r10:kprobes/hpinsret ${hpte}_insert slot=\$retval:s64" hpinsret
probe \
"p:kprobes/hpupd ${hpte}_updatepp slot=%gpr3:u64 newpp=%gpr4:x64 vpn=%gpr5:x64" hpupd
probe \
"p:kprobes/hpinv ${hpte}_invalidate slot=%gpr3:u64 vpn=%gpr4:x64 psize=%gpr5:s32 local=%gpr8:s32" \
hpinv

# Kernel addresses only: user faults are not replayed and would fill the buffer.
echo 'addr >= 0xc000000000000000' > events/powerpc/hash_fault/filter
[ -e events/kprobes/need/filter ] &&
    echo 'addr >= 0xc000000000000000' > events/kprobes/need/filter
enable powerpc/hash_fault 'needed: each one is a touch of a page'
enable powerpc/tlbie 'comparison only'
enable powerpc/hcall_entry 'comparison only; LPAR'
enable powerpc/hcall_exit 'comparison only; LPAR'
enable vmalloc/alloc_vmap_area 'from Linux 6.2 on'
enable vmalloc/free_vmap_area_noflush 'from Linux 6.2 on'
enable vmalloc/purge_vmap_area_lazy 'from Linux 6.2 on'
echo 1 > events/kprobes/enable # needed: allocations and frees

# Record. `begin NAME` and `end NAME` around each step give per-step counts.
echo 1 > tracing_on
echo 'begin swapon' > trace_marker
swapon -a # the workload: put your own here
echo 'end swapon' > trace_marker
echo 0 > tracing_on

# Save. Read `trace`, not `trace_pipe`: only it has the header with the overrun count.
# Every probe's third column must be 0, or records were missed.
cat kprobe_profile
cat trace > /root/capture.txt
gzip -9 /root/capture.txt
