/* A torture of the hash table: pages are entered, removed, made read-only and accessed at random, and
 * each access does what the table says. */
#include "guest.h"

#define PAGES 256
#define ROUNDS 40000
#define BASE 0x40000000UL
#define FRAMES 0x200 /* first frame, of 4K: 2 MiB */

static struct {
	volatile u64 *entry;
	u64 pp, frame, value;
} pages[PAGES];

/* Pages of one hash class, so that groups fill up and secondary ones are used. */
static u64 page_of(u64 i)
{
	return (BASE >> 12 & 0xffff) + (i & 7) + (i >> 3 << 11);
}

static int access_one(u64 i, u64 value)
{
	u64 ea = BASE + (page_of(i) - (BASE >> 12 & 0xffff) << 12) + 8 * (i & 7), seen = 0;
	long fault = load_mapped(ea, &seen);
	if (!pages[i].entry)
		return fault == 0x40000000 && store_mapped(ea, 1) == 0x42000000;
	if (fault || seen != pages[i].value)
		return 0;
	fault = store_mapped(ea, value);
	if (pages[i].pp == PP_RO)
		return fault == 0x0a000000;
	pages[i].value = value;
	/* R and C are set, and memory has it. */
	return !fault && (pages[i].entry[1] & 0x180) == 0x180 &&
	       *(volatile u64 *)((pages[i].frame << 12) + 8 * (i & 7)) == value;
}

long guest_main(u64 cpu)
{
	u64 state = 88172645463325252UL, full = 0, entered = 0;
	if (cpu)
		for (;;)
			;
	map_segment(BASE);
	for (u64 round = 0; round < ROUNDS; round++) {
		u64 r = random_next(&state), i = r >> 8 & (PAGES - 1);
		switch (r & 3) {
		case 0:
			if (pages[i].entry) {
				hpte_remove(pages[i].entry, page_of(i));
				pages[i].entry = 0;
				break;
			}
			pages[i].pp = r & 16 ? PP_RO : PP_RW;
			pages[i].frame = FRAMES + (r >> 32 & 1023);
			pages[i].entry = hpte_enter(page_of(i), pages[i].frame, pages[i].pp);
			if (!pages[i].entry) {
				full++;
				break;
			}
			entered++;
			pages[i].value = *(volatile u64 *)((pages[i].frame << 12) + 8 * (i & 7));
			break;
		default:
			/* Frames are shared: the value is what memory has now. */
			if (pages[i].entry)
				pages[i].value = *(volatile u64 *)((pages[i].frame << 12) + 8 * (i & 7));
			if (!access_one(i, r)) {
				print("wrong at round ");
				print_number(round);
				print("\n");
				return 1;
			}
		}
	}
	print("entered ");
	print_number(entered);
	print(", both groups full ");
	print_number(full);
	print("\n");
	return 0;
}
