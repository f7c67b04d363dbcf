/* Work for `emu bench exec`: a sort, a checksum, a list and a small product of matrices. The entry is for the bare
 * machine; the one behind it, 4 bytes on, is for Linux. Both end with the checksum's low bits. */
typedef unsigned long u64;
typedef unsigned int u32;

asm(".section .text.start,\"ax\"; .globl _start\n"
    "_start: b 1f\n"
    "	bl	2f\n"
    "	li	0, 1\n"
    "	sc\n"
    "1:	bl	2f\n"
    "	mr	4, 3\n"
    "	li	3, 0\n"
    "	ori	3, 3, 0xf100\n"
    "	sc	1\n"
    "2:	lis	1, stack_top@ha\n"
    "	addi	1, 1, stack_top@l\n"
    "	addi	1, 1, -128\n"
    "	lis	2, .TOC.@ha\n"
    "	addi	2, 2, .TOC.@l\n"
    "	b	guest_main\n"
    "	.section .bss; .balign 16; .skip 16384; stack_top: .skip 16; .text");

#define ITEMS 512

static u32 items[ITEMS];
static int left[16][16], right[16][16], product[16][16];
static struct node {
	struct node *next;
	u64 value;
} nodes[ITEMS];

static void sort(void)
{
	for (int gap = ITEMS / 2; gap; gap /= 2)
		for (int i = gap; i < ITEMS; i++) {
			u32 item = items[i];
			int at = i;
			for (; at >= gap && items[at - gap] > item; at -= gap)
				items[at] = items[at - gap];
			items[at] = item;
		}
}

static u32 checksum(const unsigned char *bytes, int n, u32 sum)
{
	for (int i = 0; i < n; i++) {
		sum ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
	}
	return sum;
}

static void multiply(void)
{
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 16; j++) {
			int sum = 0;
			for (int k = 0; k < 16; k++)
				sum += left[i][k] * right[k][j];
			product[i][j] = sum;
		}
}

__attribute__((used)) u64 guest_main(void)
{
	u64 state = 88172645463325252UL;
	u32 sum = 0;
	for (int round = 0; round < 400; round++) {
		for (int i = 0; i < ITEMS; i++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			items[i] = state;
			left[i & 15][i >> 4 & 15] = state >> 40;
			right[i >> 4 & 15][i & 15] = state >> 20;
			nodes[i].next = &nodes[(i * 37 + 11) % ITEMS];
			nodes[i].value = state;
		}
		sort();
		multiply();
		struct node *node = nodes;
		for (int i = 0; i < 2 * ITEMS; i++, node = node->next)
			sum += node->value;
		sum = checksum((const unsigned char *)items, sizeof items / 4, sum);
		sum = checksum((const unsigned char *)product, sizeof product / 4, sum);
	}
	return sum & 0x7f;
}
