/* pie.h - model of the ESP32-S3's vector instructions that kernels use, for processors that lack them.
 *
 * Source: ESP32-S3 Technical Reference Manual, chapter 1, "Processor Instruction Extensions (PIE)". Eight
 * registers q0 to q7 of 16 bytes; the accumulator QACC, here as 16 lanes of 20 bits; SAR_BYTE. As documented:
 *
 * - VLD, VST, LD.USAR: the low four bits of the address are ignored; then the address register is stepped.
 * - LD.USAR: these four bits become SAR_BYTE.
 * - VSMULAS, VMULAS: each product is added to its lane, which saturates to 20 bits at every step.
 * - SRCMB: lanes are shifted right, rounding down, by the low five bits of the register, and stay shifted;
 *   saturated to eight bits they are the result.
 * - Instructions that load and multiply at once read their operands first.
 *
 * What is not listed in `pie_execute` is no instruction of this model. 16-bit and 40-bit views of QACC are
 * not modelled, since nothing here uses them.
 */
#ifndef NANOU_PIE_H
#define NANOU_PIE_H

#include <stdint.h>

/* Where the model finds the byte of an address; tests put an array of their own there. */
#ifndef PIE_MEMORY
#define PIE_MEMORY(address) ((uint8_t *)(uintptr_t)(address))
#endif

/* One function: an exception handler in which it runs may not call others (firmware/host/xtensa/pie_trap.c).
 */
#define PIE_INLINE static inline __attribute__((always_inline))

enum { PIE_LANES = 16, PIE_QACC_MAX = (1 << 19) - 1, PIE_QACC_MIN = -(1 << 19) };

typedef struct pie_state {
    int8_t q[8][PIE_LANES];
    int32_t qacc[PIE_LANES];
    uint32_t sar_byte;
} pie_state_t;

PIE_INLINE int32_t pie_saturate(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

PIE_INLINE void pie_copy(int8_t *to, const int8_t *from) {
    for (int i = 0; i < PIE_LANES; i++) {
        to[i] = from[i];
    }
}

PIE_INLINE void pie_load(pie_state_t *s, uint32_t q, uint32_t address) {
    pie_copy(s->q[q], (const int8_t *)PIE_MEMORY(address & ~15u));
}

PIE_INLINE void pie_store(const pie_state_t *s, uint32_t q, uint32_t address) {
    pie_copy((int8_t *)PIE_MEMORY(address & ~15u), s->q[q]);
}

PIE_INLINE void pie_broadcast_8(pie_state_t *s, uint32_t q, uint32_t address) {
    const int8_t value = *(const int8_t *)PIE_MEMORY(address);
    for (int i = 0; i < PIE_LANES; i++) {
        s->q[q][i] = value;
    }
}

PIE_INLINE void pie_zero_qacc(pie_state_t *s) {
    for (int i = 0; i < PIE_LANES; i++) {
        s->qacc[i] = 0;
    }
}

PIE_INLINE void pie_vsmulas_s8_qacc(pie_state_t *s, uint32_t qx, uint32_t qy, uint32_t lane) {
    const int32_t factor = s->q[qy][lane];
    for (int i = 0; i < PIE_LANES; i++) {
        s->qacc[i] = pie_saturate(s->qacc[i] + s->q[qx][i] * factor, PIE_QACC_MIN, PIE_QACC_MAX);
    }
}

PIE_INLINE void pie_vmulas_s8_qacc(pie_state_t *s, uint32_t qx, uint32_t qy) {
    for (int i = 0; i < PIE_LANES; i++) {
        s->qacc[i] = pie_saturate(s->qacc[i] + s->q[qx][i] * s->q[qy][i], PIE_QACC_MIN, PIE_QACC_MAX);
    }
}

PIE_INLINE void pie_srcmb_s8_qacc(pie_state_t *s, uint32_t qu, uint32_t shift) {
    for (int i = 0; i < PIE_LANES; i++) {
        s->qacc[i] >>= shift & 31u;
        s->q[qu][i] = (int8_t)pie_saturate(s->qacc[i], -128, 127);
    }
}

/* Bytes SAR_BYTE to SAR_BYTE + 15 of qs0 and qs1 one behind the other. */
PIE_INLINE void pie_src_q(pie_state_t *s, uint32_t qa, uint32_t qs0, uint32_t qs1) {
    int8_t both[2 * PIE_LANES];
    pie_copy(both, s->q[qs0]);
    pie_copy(both + PIE_LANES, s->q[qs1]);
    pie_copy(s->q[qa], both + (s->sar_byte & 15u));
}

PIE_INLINE void pie_vmax_s8(pie_state_t *s, uint32_t qa, uint32_t qx, uint32_t qy) {
    for (int i = 0; i < PIE_LANES; i++) {
        s->q[qa][i] = s->q[qx][i] > s->q[qy][i] ? s->q[qx][i] : s->q[qy][i];
    }
}

PIE_INLINE void pie_vmin_s8(pie_state_t *s, uint32_t qa, uint32_t qx, uint32_t qy) {
    for (int i = 0; i < PIE_LANES; i++) {
        s->q[qa][i] = s->q[qx][i] < s->q[qy][i] ? s->q[qx][i] : s->q[qy][i];
    }
}

/* Bytes of qs0 and qs1 in turn: the first sixteen to qs0, the others to qs1. */
PIE_INLINE void pie_vzip_8(pie_state_t *s, uint32_t qs0, uint32_t qs1) {
    int8_t both[2 * PIE_LANES];
    for (int i = 0; i < PIE_LANES; i++) {
        both[2 * i] = s->q[qs0][i];
        both[2 * i + 1] = s->q[qs1][i];
    }
    pie_copy(s->q[qs0], both);
    pie_copy(s->q[qs1], both + PIE_LANES);
}

/* The way back: bytes at even places to qs0, at odd ones to qs1. */
PIE_INLINE void pie_vunzip_8(pie_state_t *s, uint32_t qs0, uint32_t qs1) {
    int8_t both[2 * PIE_LANES];
    pie_copy(both, s->q[qs0]);
    pie_copy(both + PIE_LANES, s->q[qs1]);
    for (int i = 0; i < PIE_LANES; i++) {
        s->q[qs0][i] = both[2 * i];
        s->q[qs1][i] = both[2 * i + 1];
    }
}

PIE_INLINE uint32_t pie_bits(uint32_t word, uint32_t lowest, uint32_t count) {
    return (word >> lowest) & ((1u << count) - 1u);
}

/* An immediate step in bytes: seven bits and a sign, in units of 16. */
PIE_INLINE uint32_t pie_step(uint32_t word) {
    return (pie_bits(word, 8, 7) << 4) - (pie_bits(word, 22, 1) << 11);
}

/* The same of a 4-byte instruction that multiplies: five bits and a sign. */
PIE_INLINE uint32_t pie_step_32(uint32_t word) {
    return ((pie_bits(word, 26, 1) << 4 | pie_bits(word, 8, 4)) << 4) - (pie_bits(word, 27, 1) << 9);
}

/* Executes the 3-byte instruction `word`, with address registers a[0] to a[15]; 1, or 0 where it is none of
 * these. */
PIE_INLINE int pie_execute_24(pie_state_t *s, uint32_t word, uint32_t a[16]) {
    const uint32_t q_high = pie_bits(word, 20, 2) << 1 | pie_bits(word, 15, 1);
    const uint32_t q_14 = pie_bits(word, 12, 3), q_10 = pie_bits(word, 8, 3);
    const uint32_t q_split = pie_bits(word, 14, 1) << 2 | pie_bits(word, 11, 2);
    const uint32_t as = pie_bits(word, 4, 4), ad = pie_bits(word, 8, 4);
    if ((word & 0xFF8F000Fu) == 0x00830004u) { /* VLD.128.IP qu, as, imm */
        pie_load(s, q_high, a[as]);
        a[as] += pie_step(word);
    } else if ((word & 0xFF8F000Fu) == 0x00810004u) { /* LD.128.USAR.IP qu, as, imm */
        pie_load(s, q_high, a[as]);
        s->sar_byte = a[as] & 15u;
        a[as] += pie_step(word);
    } else if ((word & 0xFF8F000Fu) == 0x008A0004u) { /* VST.128.IP qv, as, imm */
        pie_store(s, q_high, a[as]);
        a[as] += pie_step(word);
    } else if ((word & 0xFFCF700Fu) == 0x008D2004u) { /* VLD.128.XP qu, as, ad */
        pie_load(s, q_high, a[as]);
        a[as] += a[ad];
    } else if ((word & 0xFFCF700Fu) == 0x008D7004u) { /* VST.128.XP qv, as, ad */
        pie_store(s, q_high, a[as]);
        a[as] += a[ad];
    } else if ((word & 0xFFCF7F0Fu) == 0x00CD3B04u) { /* VLDBC.8 qu, as */
        pie_broadcast_8(s, q_high, a[as]);
    } else if (word == 0x00250844u) { /* ZERO.QACC */
        pie_zero_qacc(s);
    } else if ((word & 0xFFCF20EFu) == 0x008E0044u) { /* VSMULAS.S8.QACC qx, qy, lane */
        pie_vsmulas_s8_qacc(s, q_10, q_split, q_high << 1 | pie_bits(word, 4, 1));
    } else if ((word & 0xFFFFA0FFu) == 0x001A20C4u) { /* VMULAS.S8.QACC qx, qy */
        pie_vmulas_s8_qacc(s, q_10, q_split);
    } else if ((word & 0xFFCF7F0Fu) == 0x00CD7A04u) { /* SRCMB.S8.QACC qu, as, 0 */
        pie_srcmb_s8_qacc(s, q_high, a[as]);
    } else if ((word & 0xFFCF0F8Fu) == 0x00CC0304u) { /* SRC.Q qa, qs0, qs1 */
        pie_src_q(s, pie_bits(word, 4, 3), q_14, q_high);
    } else if ((word & 0xFFFFFF0Fu) == 0x00F30D00u) { /* WUR.SAR_BYTE art */
        s->sar_byte = a[as] & 15u;
    } else if ((word & 0xFFCF20FFu) == 0x008E2044u) { /* VMAX.S8 qa, qx, qy */
        pie_vmax_s8(s, q_high, q_10, q_split);
    } else if ((word & 0xFFCF20FFu) == 0x008E2074u) { /* VMIN.S8 qa, qx, qy */
        pie_vmin_s8(s, q_high, q_10, q_split);
    } else if ((word & 0xFFCF0FFFu) == 0x00CC03D4u) { /* VZIP.8 qs0, qs1 */
        pie_vzip_8(s, q_14, q_high);
    } else if ((word & 0xFFCF0FFFu) == 0x00CC03A4u) { /* VUNZIP.8 qs0, qs1 */
        pie_vunzip_8(s, q_14, q_high);
    } else {
        return 0;
    }
    return 1;
}

/* The same of a 4-byte instruction. */
PIE_INLINE int pie_execute_32(pie_state_t *s, uint32_t word, uint32_t a[16]) {
    const uint32_t qu = pie_bits(word, 24, 2) << 1 | pie_bits(word, 19, 1), as = pie_bits(word, 4, 4);
    const uint32_t qx = pie_bits(word, 0, 1) << 2 | pie_bits(word, 14, 2);
    const uint32_t qy = pie_bits(word, 12, 2) << 1 | pie_bits(word, 23, 1);
    if ((word & 0xFC600F0Eu) == 0xE0200C0Eu) { /* VSMULAS.S8.QACC.LD.INCP qu, as, qx, qy, lane */
        pie_vsmulas_s8_qacc(s, qx, qy, pie_bits(word, 16, 3) << 1 | pie_bits(word, 20, 1));
        pie_load(s, qu, a[as]);
        a[as] += 16;
    } else if ((word & 0xF077000Eu) == 0xF003000Eu) { /* VMULAS.S8.QACC.LD.IP qu, as, imm, qx, qy */
        pie_vmulas_s8_qacc(s, qx, qy);
        pie_load(s, qu, a[as]);
        a[as] += pie_step_32(word);
    } else {
        return 0;
    }
    return 1;
}

/* Executes the instruction at `code`; its length in bytes, or 0 where it is none of these. Nothing changes
 * then. */
PIE_INLINE uint32_t pie_execute(pie_state_t *s, const uint8_t *code, uint32_t a[16]) {
    const uint32_t low = (uint32_t)code[0] | (uint32_t)code[1] << 8 | (uint32_t)code[2] << 16;
    if (code[0] & 8u) {
        return pie_execute_32(s, low | (uint32_t)code[3] << 24, a) ? 4 : 0;
    }
    return pie_execute_24(s, low, a) ? 3 : 0;
}

#endif
