/*
 * intent_sub.c
 *		Local intents and subtransactions.
 *
 * What a subtransaction took, or made stronger, it gives back when it is rolled back; when it commits, its parent has it. Who
 * waits for it meanwhile must wake at that moment, so it does not wait for the virtual transaction but for a lock that the
 * subtransaction holds from its first intent on, as heap's waiters do for that of its xid: a user lock, by which nothing else in
 * PostgreSQL is named, of virtual transaction and subtransaction. It goes with the subtransaction's resource owner on a rollback,
 * after the callback that takes back the intents, and is released on its commit, when the intents have become the parent's: so
 * a transaction holds one for each subtransaction that is open, and no more. Without room for it in the lock table, the
 * intents are held until the transaction ends as far as waiters are concerned.
 *
 * Outside of subtransactions nothing is noted and no lock taken.
 */
#include "xact/intent_table.h"

#include "access/xact.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* Tells our user locks from others that somebody might make; PostgreSQL makes none. */
#define SUB_LOCK_CLASS 0xC0DB

/* An intent, or a share, that a subtransaction has made or made stronger. */
typedef struct Change
{
	int			place;
	bool		share;
	bool		made;
	ConcordHold before;
} Change;

/* A subtransaction that has taken intents. */
typedef struct Frame
{
	SubTransactionId sub;
	SubTransactionId named;		/* what its intents name: itself, or nothing if its lock was not to be had */
	int			first_change;
} Frame;

/* In TopTransactionContext. */
static Frame *frames = NULL;
static int	frame_count = 0;
static int	frame_room = 0;
static Change *changes = NULL;
static int	change_count = 0;
static int	change_room = 0;

static void
sub_lock_tag(LOCKTAG *tag, BackendId backend, LocalTransactionId lxid, SubTransactionId sub)
{
	tag->locktag_field1 = (uint32) backend;
	tag->locktag_field2 = lxid;
	tag->locktag_field3 = sub;
	tag->locktag_field4 = SUB_LOCK_CLASS;
	tag->locktag_type = LOCKTAG_USERLOCK;
	tag->locktag_lockmethodid = DEFAULT_LOCKMETHOD;
}

/* Takes the lock of a subtransaction; true if it was to be had. */
static bool
lock_sub(SubTransactionId sub, ResourceOwner owner)
{
	ResourceOwner caller = CurrentResourceOwner;
	LockAcquireResult result;
	LOCKTAG		tag;

	sub_lock_tag(&tag, MyBackendId, MyProc->lxid, sub);
	CurrentResourceOwner = owner;
	result = LockAcquireExtended(&tag, ExclusiveLock, false, true, false, NULL);
	CurrentResourceOwner = caller;
	return result != LOCKACQUIRE_NOT_AVAIL;
}

static void
unlock_sub(SubTransactionId sub, ResourceOwner owner)
{
	ResourceOwner caller = CurrentResourceOwner;
	LOCKTAG		tag;

	sub_lock_tag(&tag, MyBackendId, MyProc->lxid, sub);
	CurrentResourceOwner = owner;
	(void) LockRelease(&tag, ExclusiveLock, false);
	CurrentResourceOwner = caller;
}

void
concord_holder_wait(const ConcordHolder *holder, SubTransactionId sub)
{
	VirtualTransactionId vxid = {holder->backend, holder->lxid};
	LOCKTAG		tag;

	if (sub == InvalidSubTransactionId)
	{
		(void) VirtualXactLock(vxid, true);
		return;
	}
	sub_lock_tag(&tag, holder->backend, holder->lxid, sub);
	(void) LockAcquire(&tag, ShareLock, false, false);
	(void) LockRelease(&tag, ShareLock, false);
}

static void *
make_room(void *array, int count, int *room, Size size)
{
	if (count < *room)
		return array;
	*room = Max(16, *room * 2);
	return array == NULL ? MemoryContextAlloc(TopTransactionContext, *room * size) : repalloc(array, *room * size);
}

SubTransactionId
concord_intent_sub(void)
{
	SubTransactionId sub;

	if (GetCurrentTransactionNestLevel() <= 1)
		return InvalidSubTransactionId;
	sub = GetCurrentSubTransactionId();
	changes = make_room(changes, change_count, &change_room, sizeof(Change));
	if (frame_count == 0 || frames[frame_count - 1].sub != sub)
	{
		SubTransactionId named;

		frames = make_room(frames, frame_count, &frame_room, sizeof(Frame));
		named = lock_sub(sub, CurTransactionResourceOwner) ? sub : InvalidSubTransactionId;
		frames[frame_count++] = (Frame) {sub, named, change_count};
	}
	return frames[frame_count - 1].named;
}

void
concord_intent_note(bool share, int place, bool made, const ConcordHold *before)
{
	if (frame_count == 0 || GetCurrentTransactionNestLevel() <= 1)
		return;
	changes[change_count++] = (Change) {place, share, made, *before};
}

void
concord_intent_unnote(int place)
{
	if (change_count > 0 && changes[change_count - 1].place == place && !changes[change_count - 1].share)
		change_count--;
}

/* The intents of the newest frame are to name something else. */
static void
pass_changes(SubTransactionId to)
{
	Frame	   *frame = &frames[frame_count - 1];

	for (int i = frame->first_change; i < change_count && frame->named != to; i++)
	{
		if (changes[i].share)
			concord_sharer_pass(changes[i].place, frame->named, to);
		else
			concord_intent_pass(changes[i].place, frame->named, to);
	}
}

void
concord_intent_sub_commit(SubTransactionId sub, SubTransactionId parent)
{
	Frame	   *frame = frame_count > 0 ? &frames[frame_count - 1] : NULL;
	Frame	   *outer = frame_count > 1 ? frame - 1 : NULL;
	SubTransactionId named;

	if (frame == NULL || frame->sub != sub)
		return;
	named = frame->named;
	if (parent == TopSubTransactionId)
	{
		/* Nothing but the end of the transaction takes it back now. */
		pass_changes(InvalidSubTransactionId);
		change_count = frame->first_change;
		frame_count--;
	}
	else if (outer != NULL && outer->sub == parent)
	{
		pass_changes(outer->named);
		frame_count--;
	}
	else
	{
		ResourceOwner owner = ResourceOwnerGetParent(CurTransactionResourceOwner);
		SubTransactionId to = lock_sub(parent, owner) ? parent : InvalidSubTransactionId;

		pass_changes(to);
		frame->sub = parent;
		frame->named = to;
	}
	if (named != InvalidSubTransactionId)
		unlock_sub(named, CurTransactionResourceOwner);
}

void
concord_intent_sub_abort(SubTransactionId sub)
{
	/* Ids grow: whatever began at or after the aborted one is gone with it. Its lock goes with its resource owner. */
	while (frame_count > 0 && frames[frame_count - 1].sub >= sub)
	{
		Frame	   *frame = &frames[--frame_count];

		while (change_count > frame->first_change)
		{
			Change	   *change = &changes[--change_count];

			if (change->share)
				concord_sharer_undo(change->place, change->made, &change->before);
			else
				concord_intent_undo(change->place, change->made, &change->before);
		}
	}
}

void
concord_intent_sub_xact_end(void)
{
	frames = NULL;
	changes = NULL;
	frame_count = frame_room = change_count = change_room = 0;
}
