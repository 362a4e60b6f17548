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

#define NO_ENTRY UINT32_MAX

ConcordResourceEntry *concord_resource_entries = NULL;
static uint32 capacity = 0;
static uint32 first_free = NO_ENTRY;
static uint32 live = 0;

static void
free_entry(uint32 index)
{
	concord_resource_entries[index].object = NULL;
	concord_resource_entries[index].next_free = first_free;
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
		ConcordResourceEntry *entry = &concord_resource_entries[i];

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

	if (concord_resource_entries == NULL)
	{
		concord_resource_entries = MemoryContextAllocZero(TopMemoryContext, wanted * sizeof(ConcordResourceEntry));
		RegisterResourceReleaseCallback(release_callback, NULL);
	}
	else
		concord_resource_entries = repalloc(concord_resource_entries, wanted * sizeof(ConcordResourceEntry));
	for (uint32 i = wanted; i-- > capacity;)
	{
		concord_resource_entries[i].object = NULL;
		concord_resource_entries[i].generation = 0;
		concord_resource_entries[i].next_free = first_free;
		first_free = i;
	}
	capacity = wanted;
}

ConcordResource
concord_resource_track(void *object, ConcordReleaseFunction release)
{
	ConcordResource resource;
	ConcordResourceEntry *entry;

	if (first_free == NO_ENTRY)
		grow();
	resource.index = first_free;
	entry = &concord_resource_entries[first_free];
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

uint32
concord_resource_live(void)
{
	return live;
}

void
concord_resource_release(ConcordResource *resource)
{
	if (concord_resource_held(*resource))
	{
		ConcordResourceEntry *entry = &concord_resource_entries[resource->index];

		entry->release(entry->object);
		free_entry(resource->index);
	}
	resource->generation = 0;
}
