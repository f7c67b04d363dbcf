/* What the guest programs share: calls of the host, the hash table, invalidation. All in real mode. */
#ifndef GUEST_H
#define GUEST_H

typedef unsigned long u64;
typedef unsigned int u32;

long hcall(u64 number, u64 a, u64 b, u64 c, u64 d);
long load_mapped(u64 ea, u64 *value);
long store_mapped(u64 ea, u64 value);

#define H_PUT_TERM_CHAR 0x58
#define mfspr(number) ({ u64 v_; asm volatile("mfspr %0,%1" : "=r"(v_) : "i"(number)); v_; })
#define SDR1 25
#define sync_table() asm volatile("ptesync" ::: "memory")

static inline void print(const char *text)
{
	while (*text) {
		u64 words[2] = { 0, 0 };
		int n = 0;
		for (; n < 16 && *text; n++, text++)
			words[n / 8] |= (u64)(unsigned char)*text << (56 - 8 * (n % 8));
		register u64 r3 asm("r3") = H_PUT_TERM_CHAR;
		register u64 r4 asm("r4") = 0;
		register u64 r5 asm("r5") = n;
		register u64 r6 asm("r6") = words[0];
		register u64 r7 asm("r7") = words[1];
		asm volatile("sc 1" : "+r"(r3) : "r"(r4), "r"(r5), "r"(r6), "r"(r7) : "memory");
	}
}

static inline void print_number(u64 number)
{
	char digits[24];
	int at = 23;
	digits[at] = 0;
	do {
		digits[--at] = '0' + number % 10;
		number /= 10;
	} while (number);
	print(digits + at);
}

/* One segment of 256 MB with 4K pages. */
#define VSID 0x1234567UL
#define HPTE_V 1UL
#define HPTE_R_M 0x10UL
#define PP_RW 0UL
#define PP_RO 3UL

static inline void slbmte(u64 rs, u64 rb)
{
	asm volatile("slbmte %0,%1; isync" : : "r"(rs), "r"(rb) : "memory");
}

static inline void map_segment(u64 ea)
{
	slbmte(VSID << 12, (ea & ~0xfffffffUL) | 0x8000000UL);
}

static inline u64 group_of(u64 page, int secondary)
{
	u64 sdr1 = mfspr(SDR1), hash = (VSID ^ page) & 0x7fffffffffUL;
	u64 mask = (1UL << (11 + (sdr1 & 31))) - 1;
	if (secondary)
		hash = ~hash;
	return (sdr1 & 0x0ffffffffffc0000UL) + (hash & mask) * 128;
}

/* The first doubleword of an entry for a page of the segment, without the bits that say where it is. */
static inline u64 hpte_v(u64 page)
{
	return (VSID << 12) | (page >> 11 << 7);
}

/* Enters a page; the address of its entry, or 0 if both groups are full. */
static inline volatile u64 *hpte_enter(u64 page, u64 frame, u64 pp)
{
	for (int secondary = 0; secondary < 2; secondary++) {
		volatile u64 *entry = (volatile u64 *)group_of(page, secondary);
		for (int slot = 0; slot < 8; slot++, entry += 2) {
			if (entry[0] & HPTE_V)
				continue;
			entry[1] = frame << 12 | HPTE_R_M | pp;
			asm volatile("eieio" ::: "memory");
			entry[0] = hpte_v(page) | (secondary ? 2 : 0) | HPTE_V;
			sync_table();
			return entry;
		}
	}
	return 0;
}

/* The operand of ISA 2.06 for a 4K page. */
static inline void tlbie(u64 page)
{
	u64 rb = (VSID << 28 | page << 12) & ~0xfffUL;
	asm volatile("tlbie %0,%1" : : "r"(rb), "r"(0UL) : "memory");
}

/* The order of Linux: the entry is invalid, then the TLBs, then all CPUs have done it. */
static inline void hpte_remove(volatile u64 *entry, u64 page)
{
	entry[0] = 0;
	sync_table();
	tlbie(page);
	asm volatile("eieio; tlbsync; ptesync" ::: "memory");
}

static inline u64 random_next(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
