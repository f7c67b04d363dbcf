/* What the kernel model does in Rust, as machine code: pages of a range are touched, which enters them into the hash
 * table by faults, and apply_to_page_range clears their PTEs in a lazy section, whose batch flushes them. What it
 * counted is printed; a test holds it equal to the model's. */
#include "guest.h"

#define PAGES 300
#define BATCH 192
#define BASE 0x40000000UL
#define FIRST_FRAME 0x200UL

/* Of the PTE: present, hashed, and the slot in the table. */
#define PTE_PRESENT 1UL
#define PTE_HASHED 2UL
#define PTE_SLOT_SHIFT 2

static volatile u64 ptes[PAGES];

static struct {
	int active, index;
	u64 page[BATCH], pte[BATCH];
} batch;

static u64 hash_faults, inserts, invalidations, flushes, sizes[8];

static volatile u64 *slot_of(u64 page, u64 slot)
{
	return (volatile u64 *)(group_of(page, slot >> 3) + (slot & 7) * 16);
}

/* The storage interrupt of a page that is mapped and not hashed. */
static int hash_page(u64 page)
{
	u64 pte = ptes[page], slot;
	volatile u64 *entry;
	if (!(pte & PTE_PRESENT))
		return 0;
	hash_faults++;
	entry = hpte_enter(page, pte >> 12, PP_RW);
	if (!entry)
		return 0;
	inserts++;
	slot = ((u64)entry & 127) / 16 | (entry[0] & 2 ? 8 : 0);
	ptes[page] = pte | PTE_HASHED | slot << PTE_SLOT_SHIFT;
	return 1;
}

static int touch(u64 page)
{
	while (store_mapped(BASE + (page << 12), page))
		if (!hash_page(page))
			return 0;
	return 1;
}

static void flush_hash_range(void)
{
	for (int i = 0; i < batch.index; i++) {
		volatile u64 *entry = slot_of(batch.page[i], batch.pte[i] >> PTE_SLOT_SHIFT & 15);
		if ((entry[0] & ~2UL) == (hpte_v(batch.page[i]) | HPTE_V)) {
			entry[0] = 0;
			invalidations++;
		}
	}
	sync_table();
	for (int i = 0; i < batch.index; i++)
		tlbie(batch.page[i]);
	asm volatile("eieio; tlbsync; ptesync" ::: "memory");
	sizes[flushes++ & 7] = batch.index;
	batch.index = 0;
}

static void need_flush(u64 page, u64 pte)
{
	batch.page[batch.index] = page;
	batch.pte[batch.index] = pte;
	if (++batch.index == BATCH || !batch.active)
		flush_hash_range();
}

static void enter_lazy(void)
{
	batch.active = 1;
}

static void leave_lazy(void)
{
	if (batch.index)
		flush_hash_range();
	batch.active = 0;
}

typedef int callback(volatile u64 *pte, u64 page);

static int apply_to_page_range(u64 first, u64 pages, callback *f)
{
	int error = 0;
	enter_lazy();
	for (u64 page = first; page < first + pages && !error; page++)
		error = f(&ptes[page], page);
	leave_lazy();
	return error;
}

static int clear(volatile u64 *pte, u64 page)
{
	u64 old = *pte;
	*pte = 0;
	if (old & PTE_HASHED)
		need_flush(page, old);
	return 0;
}

static void line(const char *name, u64 value)
{
	print(name);
	print(" ");
	print_number(value);
	print("\n");
}

long guest_main(u64 cpu)
{
	if (cpu)
		for (;;)
			;
	map_segment(BASE);
	for (u64 page = 0; page < PAGES; page++)
		ptes[page] = (FIRST_FRAME + page) << 12 | PTE_PRESENT;
	for (u64 page = 0; page < PAGES; page++)
		if (!touch(page))
			return 1;
	if (apply_to_page_range(0, PAGES, clear))
		return 1;
	/* Nothing is left: every page faults again, and no PTE is there to hash. */
	for (u64 page = 0; page < PAGES; page++)
		if (store_mapped(BASE + (page << 12), page) != 0x42000000 || hash_page(page))
			return 1;
	line("hash_faults", hash_faults);
	line("hpte_inserts", inserts);
	line("hpte_invalidations", invalidations);
	for (u64 i = 0; i < flushes; i++)
		line("batch", sizes[i]);
	return 0;
}
