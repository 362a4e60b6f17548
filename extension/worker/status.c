/*
 * status.c
 *		concord.current_lsn() and concord.status().
 */
#include "worker/worker.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

PG_FUNCTION_INFO_V1(concord_current_lsn);
PG_FUNCTION_INFO_V1(concord_status);

#define STATUS_COLUMNS 12

Datum
concord_current_lsn(PG_FUNCTION_ARGS)
{
	PG_RETURN_LSN(concord_newest_lsn());
}

bool
concord_status_value(const char *text, const char *name, uint64 *value)
{
	const char *start;
	int			length;

	if (!concord_status_text(text, name, &start, &length))
		return false;
	*value = strtou64(start, NULL, 10);
	return true;
}

bool
concord_status_text(const char *text, const char *name, const char **start, int *value_length)
{
	size_t		length = strlen(name);

	for (const char *line = text; line != NULL && *line != '\0';)
	{
		const char *end = strchr(line, '\n');

		if (strncmp(line, name, length) == 0 && line[length] == '=')
		{
			*start = line + length + 1;
			*value_length = end == NULL ? (int) strlen(*start) : (int) (end - *start);
			return true;
		}
		line = end == NULL ? NULL : end + 1;
	}
	return false;
}

Datum
concord_status(PG_FUNCTION_ARGS)
{
	/* Columns 1..9, as in the install script; all are 64-bit integers, of which pg_lsn is one. */
	static const char *const lines[] = {
		"adjudicator.epoch", "adjudicator.committed_lsn", "storage.applied_lsn", "storage.checkpoint_lsn",
		"storage.horizon_lsn", "journal.bytes", "storage.used_bytes", "storage.storages", "storage.storages_dropping"
	};
	Datum		values[STATUS_COLUMNS];
	bool		nulls[STATUS_COLUMNS];
	CcChannelStats stats;
	TupleDesc	desc;
	char	   *text;
	uint64		value;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != STATUS_COLUMNS)
		elog(ERROR, "concord.status() must return %d columns", STATUS_COLUMNS);

	memset(&stats, 0, sizeof(stats));
	if (concord_enabled)
		cc_channel_stats(concord_channel, &stats);
	text = concord_fetch_status();

	memset(nulls, 0, sizeof(nulls));
	values[0] = CStringGetTextDatum(text != NULL && concord_status_value(text, lines[0], &value) ? "running" : "unavailable");
	for (int i = 0; i < (int) lengthof(lines); i++)
	{
		nulls[i + 1] = text == NULL || !concord_status_value(text, lines[i], &value);
		values[i + 1] = nulls[i + 1] ? (Datum) 0 : Int64GetDatum((int64) value);
	}
	values[10] = Int64GetDatum((int64) stats.commits);
	values[11] = Int64GetDatum((int64) stats.conflicts);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
