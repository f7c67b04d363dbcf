/* Where every CPU begins, what the vectors do, and what C cannot say. */

	.section .text.start, "ax"
	.globl _start
_start:				/* r3: number of this CPU, r4: of all */
	lis	1, stacks@ha
	addi	1, 1, stacks@l
	addi	5, 3, 1
	sldi	5, 5, 14	/* 16 KiB each */
	add	1, 1, 5
	addi	1, 1, -128
	lis	2, .TOC.@ha
	addi	2, 2, .TOC.@l
	bl	guest_main
	mr	4, 3
	li	3, 0
	ori	3, 3, 0xf100	/* H_HALT */
	sc	1
	b	.

/* long hcall(number, a, b, c, d): arguments are where the host takes them, but for the last two. */
	.globl hcall
hcall:
	sc	1
	blr

/* long load_mapped(ea, value): a load with translation; its fault, or 0 and the value. */
	.globl load_mapped
load_mapped:
	mfmsr	8
	ori	9, 8, 0x10	/* DR */
	mtmsrd	9
	isync
	ld	5, 0(3)
	mtmsrd	8
	isync
	std	5, 0(4)
	li	3, 0
	blr

/* long store_mapped(ea, value): its fault, or 0. */
	.globl store_mapped
store_mapped:
	mfmsr	8
	ori	9, 8, 0x10
	mtmsrd	9
	isync
	std	4, 0(3)
	mtmsrd	8
	isync
	li	3, 0
	blr

/* A fault of these two goes back to their caller with DSISR, or 0x380 for a segment. */
	.section .vectors, "ax"
	.macro	back_with
	mtsrr1	8
	mflr	9
	mtsrr0	9
	rfid
	.endm
	.org	0x300
	mfdsisr	3
	back_with
	.org	0x380
	li	3, 0x380
	back_with
	.org	0x700		/* nothing here is meant to trap */
	mfsrr0	4
	li	3, 0
	ori	3, 3, 0xf100
	sc	1
	.org	0x1000

	.section .bss
	.balign	16
	.globl	stacks
stacks:
	.skip	8 * 16384
