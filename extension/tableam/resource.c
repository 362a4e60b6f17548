/*
 * resource.c
 *		Pins and cursors of the bridge, released with their resource owner.
 *
 * An error skips the code that would have unpinned. Postgres' own pins are then released by their resource owner; PostgreSQL 15
 * lets an extension take part through one callback for all owners, so the owner of each object is kept here. Memory that held a
 * handle may be gone before its owner is: the table lives on its own, and handles carry a generation.
 *
 * At the end of the top transaction cc_replica_reset() has already closed everything: then entries are only forgotten.
 */
#include "tableam/tableam.h"

#include "utils/memutils.h"
#include "utils/resowner.h"

typedef struct Entry
{
	void	   *object;			/* NULL: free */
	ConcordReleaseFunction release;
	ResourceOwner owner;
	uint32		generation;
	uint32		next_free;
} Entry;

#define NO_ENTRY UINT32_MAX

static Entry *entries = NULL;
static uint32 capacity = 0;
static uint32 first_free = NO_ENTRY;
static uint32 live = 0;

static void
free_entry(uint32 index)
{
	entries[index].object = NULL;
	entries[index].next_free = first_free;
	first_free = index;
	live--;
}

static void
release_callback(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	if (phase != RESOURCE_RELEASE_BEFORE_LOCKS || live == 0)
		return;
	for (uint32 i = 0; i < capacity && live > 0; i++)
	{
		Entry	   *entry = &entries[i];

		if (entry->object == NULL || entry->owner != CurrentResourceOwner)
			continue;
		if (!is_top_level)
			entry->release(entry->object);
		free_entry(i);
	}
}

static void
grow(void)
{
	uint32		wanted = Max(16, capacity * 2);

	if (entries == NULL)
	{
		entries = MemoryContextAllocZero(TopMemoryContext, wanted * sizeof(Entry));
		RegisterResourceReleaseCallback(release_callback, NULL);
	}
	else
		entries = repalloc(entries, wanted * sizeof(Entry));
	for (uint32 i = wanted; i-- > capacity;)
	{
		entries[i].object = NULL;
		entries[i].generation = 0;
		entries[i].next_free = first_free;
		first_free = i;
	}
	capacity = wanted;
}

ConcordResource
concord_resource_track(void *object, ConcordReleaseFunction release)
{
	ConcordResource resource;
	Entry	   *entry;

	if (first_free == NO_ENTRY)
		grow();
	resource.index = first_free;
	entry = &entries[first_free];
	first_free = entry->next_free;
	live++;
	entry->object = object;
	entry->release = release;
	entry->owner = CurrentResourceOwner;
	if (++entry->generation == 0)
		entry->generation = 1;
	resource.generation = entry->generation;
	return resource;
}

bool
concord_resource_held(ConcordResource resource)
{
	return resource.generation != 0 && entries[resource.index].object != NULL &&
		entries[resource.index].generation == resource.generation;
}

void
concord_resource_release(ConcordResource *resource)
{
	if (concord_resource_held(*resource))
	{
		Entry	   *entry = &entries[resource->index];

		entry->release(entry->object);
		free_entry(resource->index);
	}
	resource->generation = 0;
}
