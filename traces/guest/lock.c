/* A lock of lwarx and stwcx. All CPUs count under it; the sum is exact. */
#include "guest.h"

#define ROUNDS 2000

static volatile u32 lock, done;
static volatile u64 sum;

static void take(void)
{
	u32 old;
	do {
		asm volatile("1: lwarx %0,0,%1; cmpwi %0,0; bne 1b; stwcx. %2,0,%1; bne 1b; isync"
			     : "=&r"(old) : "r"(&lock), "r"(1) : "cr0", "memory");
	} while (0);
}

static void give(void)
{
	asm volatile("lwsync" ::: "memory");
	lock = 0;
}

long guest_main(u64 cpu, u64 cpus)
{
	for (int i = 0; i < ROUNDS; i++) {
		take();
		sum = sum + 1;
		give();
	}
	take();
	done++;
	give();
	if (cpu != 0)
		for (;;)
			;
	while (done < cpus)
		;
	print("counted ");
	print_number(sum);
	print("\n");
	return sum == cpus * ROUNDS ? 0 : 1;
}
