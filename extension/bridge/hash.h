/* The hash under which a key is checked (core/hash.h), for C. Same wall rules as replica.h. */
#ifndef CONCORD_BRIDGE_HASH_H
#define CONCORD_BRIDGE_HASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

uint64_t	cc_key_hash(uint64_t prefix, const void *body, size_t body_size);

#ifdef __cplusplus
}
#endif
#endif
