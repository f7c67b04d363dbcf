/* CPU 0 moves a page from frame to frame. After tlbsync no other CPU reads the old frame. */
#include "guest.h"

#define ROUNDS 300
#define EA 0x40000000UL
#define PAGE 0x0UL
#define FRAME(i) (0x200 + ((i) & 1))
#define POISON 0xdeadUL

static volatile u64 turn, seen[8], wrong;

static void reader(u64 cpu)
{
	for (u64 last = 0;;) {
		u64 now = turn, value = 0;
		asm volatile("isync" ::: "memory");
		if (!load_mapped(EA, &value) && value == POISON)
			wrong = wrong + 1;
		if (now != last) {
			last = now;
			seen[cpu] = now;
		}
	}
}

long guest_main(u64 cpu, u64 cpus)
{
	map_segment(EA);
	if (cpu != 0)
		reader(cpu);
	for (u64 i = 1; i <= ROUNDS; i++) {
		*(volatile u64 *)(FRAME(i) << 12) = i;
		volatile u64 *entry = hpte_enter(PAGE, FRAME(i), PP_RW);
		turn = i;
		for (u64 other = 1; other < cpus; other++)
			while (seen[other] != i)
				;
		hpte_remove(entry, PAGE);
		*(volatile u64 *)(FRAME(i) << 12) = POISON;
	}
	print("moved ");
	print_number(ROUNDS);
	print(" times\n");
	return wrong ? 1 : 0;
}
