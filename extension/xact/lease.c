/*
 * lease.c
 *		Leasing blocks of ids from the cluster. See lease.h.
 */
#include "xact/lease.h"

#include "bridge/encode.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/lock.h"
#include "xact/owner.h"

/* Blocks double from one TID block to this as a counter proves busy. */
#define LEASE_MIN ((uint64) CONCORD_TIDS_PER_BLOCK)
#define LEASE_MAX ((uint64) 65536)

/* Storage ids are needed one at a time, and seldom. */
#define STORAGE_LEASE_SIZE ((uint64) 16)

#define MAX_NAME_SIZE 64
#define SYSTEM_PREFIX_SIZE 8

/* The rest of a block that found no place in shared memory. */
static struct
{
	uint32		key;
	uint64		next;
	uint64		left;
} private_lease;

/*
 * One leaser per counter on this server: a second one would only conflict with it. A lock of the lock manager, because the
 * round trip to the adjudicator must stay cancellable.
 */
static void
lease_lock_tag(LOCKTAG *tag, uint32 lease_key)
{
	/* Advisory locks of users have 1 or 2 in the last field. */
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, lease_key, 0, 3);
}

static uint64
current_value(uint64 lsn, const void *key, size_t key_size, uint64 first_id)
{
	const void *value;
	size_t		value_size;
	uint64		version_lsn;
	uint64		next;
	CcView	   *view;
	CcStatus	status = cc_replica_get(lsn, key, key_size, &value, &value_size, &version_lsn, &view);

	if (status == CC_END)
		return first_id;
	concord_check(status);
	if (value_size != sizeof(next))
	{
		cc_view_unpin(view);
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("a counter of ids has a value of %zu bytes", value_size)));
	}
	/* Little-endian, as core/bytes.h asserts of every machine this runs on. */
	memcpy(&next, value, sizeof(next));
	cc_view_unpin(view);
	return next;
}

/* Advances the counter by `count`; returns its old value. */
static uint64
advance(uint32 lease_key, const void *name, size_t name_size, uint64 count)
{
	char		key[SYSTEM_PREFIX_SIZE + MAX_NAME_SIZE] = {0};
	size_t		key_size = SYSTEM_PREFIX_SIZE + name_size;

	Assert(name_size <= MAX_NAME_SIZE);
	memcpy(key + SYSTEM_PREFIX_SIZE, name, name_size);
	for (;;)
	{
		uint64		lsn = concord_newest_lsn();
		uint64		old = current_value(lsn, key, key_size, lease_key == 0 ? 1 : 0);
		uint8		token[16];
		uint8		write_set[256];
		size_t		size;

		CHECK_FOR_INTERRUPTS();
		if (!pg_strong_random(token, sizeof(token)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random commit token")));
		if (lease_key == 0)
		{
			uint8		owner_key[CONCORD_OWNER_KEY_SIZE];
			ConcordOwnerRecord owner;

			concord_owner_extend(lsn, old, count, owner_key, &owner);
			concord_check(cc_encode_counter_and(token, lsn, key, key_size, old + count, owner_key, sizeof(owner_key),
												&owner, sizeof(owner), write_set, sizeof(write_set), &size));
		}
		else
			concord_check(cc_encode_counter(token, lsn, key, key_size, old + count, write_set, sizeof(write_set),
											&size));
		if (concord_commit_now(write_set, size))
			return old;
		/* Another server took a block meanwhile. */
	}
}

static uint64
block_size(uint32 lease_key, uint64 want)
{
	uint64		last;

	if (lease_key == 0)
		return Max(want, STORAGE_LEASE_SIZE);
	last = cc_lease_last_size(concord_channel, lease_key);
	return Max(want, Min(Max(last * 2, LEASE_MIN), LEASE_MAX));
}

static bool
take_private(uint32 lease_key, uint64 want, uint64 *first)
{
	if (private_lease.key != lease_key || private_lease.left < want)
		return false;
	*first = private_lease.next;
	private_lease.next += want;
	private_lease.left -= want;
	return true;
}

uint64
concord_lease(uint32 lease_key, const void *name, size_t name_size, uint64 want)
{
	LOCKTAG		tag;
	uint64		first;

	concord_require_usable();
	if (take_private(lease_key, want, &first) || cc_lease_take(concord_channel, lease_key, want, &first))
		return first;

	/* An error releases it with the transaction's other locks. */
	lease_lock_tag(&tag, lease_key);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	if (!cc_lease_take(concord_channel, lease_key, want, &first))
	{
		uint64		count = block_size(lease_key, want);

		first = advance(lease_key, name, name_size, count);
		/* Also if nothing is left of it: its size tells how busy the counter is. */
		if (!cc_lease_add(concord_channel, lease_key, first, count, want))
		{
			private_lease.key = lease_key;
			private_lease.next = first + want;
			private_lease.left = count - want;
		}
	}
	LockRelease(&tag, ExclusiveLock, false);
	return first;
}
