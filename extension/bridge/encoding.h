/*
 * C face of core/key_encoding.h: order-preserving encodings of index columns. Pure, no memory, no errors; callable anywhere.
 *
 * A CcKey is a buffer of the caller's. When `size` exceeds `capacity`, the key did not fit; the first `capacity` bytes are
 * there all the same.
 */
#ifndef CONCORD_BRIDGE_ENCODING_H
#define CONCORD_BRIDGE_ENCODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CC_MAX_ENTRY_BODY 495	/* LMDB's 511 less prefix and version */
#define CC_WHOLE_COLUMNS 471	/* columns longer than this are shortened (core/long_key.h) */
#define CC_SHORTENED_COLUMNS 487	/* to this; a body at least as long is of such columns */

typedef struct CcKey
{
	uint8_t    *data;
	size_t		size;
	size_t		capacity;
} CcKey;

/* What a column begins with. */
#define CC_NULL_FIRST 0x01
#define CC_PRESENT 0x02
#define CC_NULL_LAST 0x03

void		cc_key_byte(CcKey *key, uint8_t byte);
void		cc_key_raw(CcKey *key, const void *bytes, size_t size);
void		cc_key_uint16(CcKey *key, uint16_t value);
void		cc_key_uint32(CcKey *key, uint32_t value);
void		cc_key_uint64(CcKey *key, uint64_t value);
void		cc_key_int16(CcKey *key, int16_t value);
void		cc_key_int32(CcKey *key, int32_t value);
void		cc_key_int64(CcKey *key, int64_t value);
void		cc_key_float4(CcKey *key, float value);
void		cc_key_float8(CcKey *key, double value);
void		cc_key_bytes(CcKey *key, const void *bytes, size_t size);
void		cc_key_blank_padded(CcKey *key, const void *bytes, size_t size);
void		cc_key_bits(CcKey *key, const void *bytes, size_t bit_count);
/* Without the varlena header; false if the bytes are no numeric. */
bool		cc_key_numeric(CcKey *key, const void *body, size_t size);
void		cc_key_interval(CcKey *key, int32_t months, int32_t days, int64_t microseconds);
void		cc_key_timetz(CcKey *key, int64_t microseconds, int32_t zone);
void		cc_key_network(CcKey *key, uint8_t family, uint8_t netmask_bits, const void *address);
/* Inverts everything from `from` on: a DESC column. */
void		cc_key_invert(CcKey *key, size_t from);
/* Makes the key the lowest one above all that begin with it. False if there is none. */
bool		cc_key_successor(CcKey *key);

/* Columns longer than CC_WHOLE_COLUMNS as CC_SHORTENED_COLUMNS bytes; `out` may be where the columns are. */
void		cc_columns_shorten(const void *columns, size_t size, uint8_t *out);
/*
 * Turn a bound of whole columns into one of bodies: none of columns at or above `low` lies below, none of columns below `high` at
 * or above. A bound that is short enough is both.
 */
void		cc_bound_shorten_low(CcKey *low);
void		cc_bound_shorten_high(CcKey *high);

#ifdef __cplusplus
}
#endif
#endif
