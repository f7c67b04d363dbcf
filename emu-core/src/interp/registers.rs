//! The registers of an interpreted CPU.
//!
//! Owns their values and the bits of CR, XER and MSR. Refuses what translation reads of them (AMR,
//! LPCR, ...), which `emu-mmu` keeps, and the decrementer, which the CPU's clock is.

use emu_mmu::AccessState;

/// MSR SF: 64-bit mode.
pub const MSR_SF: u64 = 1 << 63;
/// MSR HV: hypervisor state.
pub const MSR_HV: u64 = 1 << 60;
/// MSR EE: external interrupts and the decrementer are enabled.
pub const MSR_EE: u64 = 1 << 15;
/// MSR PR: problem state.
pub const MSR_PR: u64 = 1 << 14;
/// MSR ME: machine checks are enabled.
pub const MSR_ME: u64 = 1 << 12;
/// MSR IR: instruction relocation.
pub const MSR_IR: u64 = 1 << 5;
/// MSR DR: data relocation.
pub const MSR_DR: u64 = 1 << 4;
/// MSR RI: recoverable interrupt.
pub const MSR_RI: u64 = 1 << 1;
/// MSR LE: little-endian mode.
pub const MSR_LE: u64 = 1;
/// The bits there are: floating point, vectors and tracing are never on.
pub(crate) const MSR_BITS: u64 =
    MSR_SF | MSR_HV | MSR_EE | MSR_PR | MSR_ME | MSR_IR | MSR_DR | MSR_RI | MSR_LE;

/// XER bits by number in the low word.
pub(crate) const XER_SO: u64 = 1 << 31;
pub(crate) const XER_OV: u64 = 1 << 30;
pub(crate) const XER_CA: u64 = 1 << 29;

/// The registers of an interpreted CPU (Power ISA 2.07 Books I and III-S).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// General-purpose registers.
    pub gpr: [u64; 32],
    /// Address of the next instruction.
    pub pc: u64,
    /// Condition register.
    pub cr: u32,
    /// Link register.
    pub lr: u64,
    /// Count register.
    pub ctr: u64,
    /// Target address register.
    pub tar: u64,
    /// Machine state register.
    pub msr: u64,
    /// Summary overflow, overflow and carry of the XER.
    pub(crate) so: bool,
    pub(crate) ov: bool,
    pub(crate) ca: bool,
    /// Byte count of the XER.
    pub(crate) count: u8,
    /// Save/restore register 0.
    pub srr0: u64,
    /// Save/restore register 1.
    pub srr1: u64,
    /// Hypervisor save/restore register 0.
    pub hsrr0: u64,
    /// Hypervisor save/restore register 1.
    pub hsrr1: u64,
    /// Data address register.
    pub dar: u64,
    /// Data storage interrupt status register.
    pub dsisr: u32,
    /// Software registers 0 to 3.
    pub sprg: [u64; 4],
    /// Hypervisor software registers 0 and 1.
    pub hsprg: [u64; 2],
    /// Come-from address register: where the last branch taken stood.
    pub cfar: u64,
    /// Control register: bit 63 says that the thread runs.
    pub ctrl: u32,
    /// Vector save register.
    pub vrsave: u32,
    /// Data stream control register.
    pub dscr: u64,
    /// Program priority register.
    pub ppr: u64,
    /// Processor version register.
    pub pvr: u32,
    /// Processor identification register.
    pub pir: u32,
    /// Hardware implementation dependent registers 0, 1, 4 and 5: kept, and without effect.
    pub hid: [u64; 4],
}

impl Registers {
    /// PVR of a POWER8 (Linux 6.1 arch/powerpc/include/asm/reg.h, `PVR_POWER8`).
    pub const PVR_POWER8: u32 = 0x004d_0200;

    /// A CPU out of reset in hypervisor state, real mode, 64-bit and big-endian, which begins at `pc`.
    /// r3 and PIR are its number.
    pub fn new(pc: u64, cpu: u16) -> Self {
        let mut gpr = [0; 32];
        gpr[3] = u64::from(cpu);
        Registers {
            gpr,
            pc,
            cr: 0,
            lr: 0,
            ctr: 0,
            tar: 0,
            msr: MSR_SF | MSR_HV | MSR_ME,
            so: false,
            ov: false,
            ca: false,
            count: 0,
            srr0: 0,
            srr1: 0,
            hsrr0: 0,
            hsrr1: 0,
            dar: 0,
            dsisr: 0,
            sprg: [0; 4],
            hsprg: [0; 2],
            cfar: 0,
            ctrl: 1,
            vrsave: 0,
            dscr: 0,
            ppr: 0,
            pvr: Self::PVR_POWER8,
            pir: u32::from(cpu),
            hid: [0; 4],
        }
    }

    /// The XER.
    pub fn xer(&self) -> u64 {
        let bit = |set: bool, bit: u64| if set { bit } else { 0 };
        bit(self.so, XER_SO)
            | bit(self.ov, XER_OV)
            | bit(self.ca, XER_CA)
            | u64::from(self.count & 0x7f)
    }

    /// Writes the XER.
    pub fn set_xer(&mut self, xer: u64) {
        self.so = xer & XER_SO != 0;
        self.ov = xer & XER_OV != 0;
        self.ca = xer & XER_CA != 0;
        self.count = xer as u8 & 0x7f;
    }

    #[inline(always)]
    pub(crate) const fn sf(&self) -> bool {
        self.msr & MSR_SF != 0
    }

    #[inline(always)]
    pub(crate) const fn little_endian(&self) -> bool {
        self.msr & MSR_LE != 0
    }

    #[inline(always)]
    pub(crate) const fn problem_state(&self) -> bool {
        self.msr & MSR_PR != 0
    }

    /// What translation reads of the MSR.
    pub(crate) const fn access_state(&self) -> AccessState {
        AccessState {
            pr: self.msr & MSR_PR != 0,
            ir: self.msr & MSR_IR != 0,
            dr: self.msr & MSR_DR != 0,
            hv: self.msr & MSR_HV != 0,
            sf: self.msr & MSR_SF != 0,
        }
    }

    /// An effective address as the mode sees it.
    #[inline(always)]
    pub(crate) const fn cut(&self, ea: u64) -> u64 {
        if self.sf() { ea } else { ea & 0xffff_ffff }
    }

    /// Writes a field of CR: LT, GT, EQ and a copy of SO.
    #[inline(always)]
    pub(crate) fn set_compared(&mut self, field: u8, order: std::cmp::Ordering) {
        let bits = match order {
            std::cmp::Ordering::Less => 8,
            std::cmp::Ordering::Greater => 4,
            std::cmp::Ordering::Equal => 2,
        };
        self.set_field(field, bits | u32::from(self.so));
    }

    /// Writes a field of CR.
    #[inline(always)]
    pub(crate) fn set_field(&mut self, field: u8, bits: u32) {
        let shift = 28 - 4 * (u32::from(field) & 7);
        self.cr = self.cr & !(0xf << shift) | bits << shift;
    }

    /// Reads a field of CR.
    pub(crate) const fn field(&self, field: u8) -> u32 {
        self.cr >> (28 - 4 * (field as u32 & 7)) & 0xf
    }

    /// A bit of CR by its number.
    #[inline(always)]
    pub(crate) const fn cr_bit(&self, bit: u8) -> bool {
        self.cr >> (31 - (bit & 31)) & 1 != 0
    }

    /// Writes a bit of CR.
    pub(crate) const fn set_cr_bit(&mut self, bit: u8, set: bool) {
        let shift = 31 - (bit & 31);
        self.cr = self.cr & !(1 << shift) | (set as u32) << shift;
    }

    /// CR0 of a result, as Rc=1 asks.
    #[inline(always)]
    pub(crate) fn record(&mut self, result: u64) {
        let signed = if self.sf() {
            result as i64
        } else {
            i64::from(result as i32)
        };
        self.set_compared(0, signed.cmp(&0));
    }
}
