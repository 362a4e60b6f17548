/*
 * settings.c
 *		The settings of the extension, and the paths and addresses that follow from them.
 *
 * They exist only when the extension is preloaded; the variables' initial values stand in for them otherwise.
 */
#include "concord.h"

#include <sys/un.h>

#include "miscadmin.h"
#include "utils/guc.h"

int			concord_commit_timeout_ms = 30000;
int			concord_read_timeout_ms = 30000;
int			concord_max_write_set_kb = 1024 * 1024;
int			concord_max_read_set_kb = 1024;
bool		concord_allow_mixed_writes = false;
bool		concord_local_intents = true;
int			concord_gateway_buffer_kb = 64;
int			concord_spin_us = 0;
bool		concord_embedded = true;
char	   *concord_directory = "";
char	   *concord_address = "";
char	   *concord_storage_address = "";
char	   *concord_tls_ca = "";
char	   *concord_tls_cert = "";
char	   *concord_tls_key = "";
bool		concord_local_reads = true;
int			concord_nestloop_batch = 256;
char	   *concord_metrics_listen = "";
char	   *concord_daemon_metrics_listen = "";
char	   *concord_daemon_path = "";
int			concord_retention_ms = 1000;
int			concord_checkpoint_ms = 1000;
int			concord_sweep_interval_s = 3600;
int			concord_start_check_mb = 256;
char	   *concord_daemon_log_level = "info";
int			concord_storage_limit_mb = 1024 * 1024;
int			concord_max_reader_age_s = 24 * 3600;
int			concord_reader_warning_s = 600;

static bool
check_log_level(char **newval, void **extra, GucSource source)
{
	static const char *const levels[] = {"trace", "debug", "info", "warning", "error"};

	for (int i = 0; i < (int) lengthof(levels); i++)
		if (strcmp(*newval, levels[i]) == 0)
			return true;
	GUC_check_errhint("Available values: trace, debug, info, warning, error.");
	return false;
}

static void
assign_local_reads(bool newval, void *extra)
{
	concord_snapshot_forget_applied();
}

/* `path` in `buffer`, made absolute; a relative one is relative to the data directory. */
static const char *
data_path(char *buffer, const char *path)
{
	if (is_absolute_path(path))
		strlcpy(buffer, path, MAXPGPATH);
	else
		snprintf(buffer, MAXPGPATH, "%s/%s", DataDir, path);
	return buffer;
}

const char *
concord_effective_directory(void)
{
	static char buffer[MAXPGPATH];

	return data_path(buffer, concord_directory[0] != '\0' ? concord_directory : "concord");
}

const char *
concord_effective_address(void)
{
	static char buffer[MAXPGPATH + 32];

	if (concord_address[0] != '\0')
		return concord_address;
	snprintf(buffer, sizeof(buffer), "unix:%s/concordd.sock", concord_effective_directory());
	return buffer;
}

const char *
concord_replica_path(void)
{
	static char buffer[MAXPGPATH + 32];

	snprintf(buffer, sizeof(buffer), "%s/storage", concord_effective_directory());
	return buffer;
}

const char *
concord_page_path(void)
{
	static char buffer[MAXPGPATH];

	return data_path(buffer, "concord.page");
}

/* The path of a TLS file in `buffer` of MAXPGPATH bytes; empty if it is not set. */
const char *
concord_tls_path(char *buffer, const char *path)
{
	return path[0] != '\0' ? data_path(buffer, path) : "";
}

/* Found out here rather than by a sidecar that cannot listen, or a gateway that cannot connect, again and again. */
static void
check_socket_path(const char *address, size_t length)
{
	struct sockaddr_un socket_address;

	if (length > 5 && strncmp(address, "unix:", 5) == 0 && length - 5 >= sizeof(socket_address.sun_path))
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the path of Concord's socket is too long: \"%.*s\"", (int) length - 5, address + 5),
				 errdetail("A socket's path may have %zu bytes.", sizeof(socket_address.sun_path) - 1),
				 errhint("Set concord.directory to a shorter path.")));
}

static bool
is_local(const char *address)
{
	static const char *const local[] = {"unix:", "unix-abstract:", "127.0.0.1:", "localhost:", "[::1]:"};

	for (int i = 0; i < (int) lengthof(local); i++)
		if (strncmp(address, local[i], strlen(local[i])) == 0)
			return true;
	return false;
}

static bool
check_metrics_address(char **newval, void **extra, GucSource source)
{
	const char *address = *newval;
	const char *port = strrchr(address, ':');

	if (address[0] == '\0')
		return true;
	if (is_local(address) && strncmp(address, "unix", 4) != 0 && port[1] != '\0' && strspn(port + 1, "0123456789") == strlen(port + 1))
		return true;
	GUC_check_errdetail("Metrics are served in plain text to whoever asks, so on loopback only.");
	GUC_check_errhint("Give 127.0.0.1:PORT, and have an agent or a reverse proxy of this machine pass them on.");
	return false;
}

static void
check_encrypted(const char *setting, const char *address, size_t length)
{
	if (concord_tls_ca[0] == '\0' && length > 0 && !is_local(address))
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s names another machine, \"%.*s\", but TLS is not set up", setting, (int) length, address),
				 errdetail("Without TLS, only unix sockets and loopback addresses are connected to."),
				 errhint("Set concord.tls_ca, concord.tls_cert and concord.tls_key.")));
}

static void
check_tls(void)
{
	bool		ca = concord_tls_ca[0] != '\0';

	if (ca != (concord_tls_cert[0] != '\0') || ca != (concord_tls_key[0] != '\0'))
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("concord.tls_ca, concord.tls_cert and concord.tls_key go together"),
				 errhint("Set all three, or none.")));
}

/* Of each in a comma-separated list; returns how many there are. */
static int
check_list(const char *setting, const char *addresses)
{
	for (int count = 1;; count++)
	{
		size_t		length = strcspn(addresses, ",");

		check_socket_path(addresses, length);
		check_encrypted(setting, addresses, length);
		if (addresses[length] == '\0')
			return count;
		addresses += length + 1;
		addresses += strspn(addresses, " ");
	}
}

static void
check_addresses(void)
{
	const char *address = concord_effective_address();

	if (concord_embedded && strchr(address, ',') != NULL)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("concord.address names several adjudicators, but concord.embedded is on"),
				 errhint("A sidecar that the server starts has one address. Turn concord.embedded off to use a cluster.")));
	if (strchr(address, ',') != NULL && concord_storage_address[0] == '\0')
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("concord.address names several adjudicators, but concord.storage_address is not set"),
				 errhint("Set it to the addresses of the storage replicas.")));
	if (concord_embedded && strchr(concord_storage_address, ',') != NULL)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("concord.storage_address names several replicas, but concord.embedded is on"),
				 errhint("A sidecar that the server starts has one address. Turn concord.embedded off to use a cluster.")));
	(void) check_list("concord.address", address);
	if (check_list("concord.storage_address", concord_storage_address) > CC_REPLICAS_MAX)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("concord.storage_address names more than %d replicas", CC_REPLICAS_MAX)));
}

static void
define_timeouts(void)
{
	DefineCustomIntVariable("concord.commit_timeout",
							"Sets how long a commit waits for the adjudicator's verdict.",
							"While no adjudicator can be reached the commit is tried again. After this time it fails: with "
							"08006 if nothing can have been decided, with 08007 if the outcome cannot be known.",
							&concord_commit_timeout_ms, 30000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("concord.read_timeout",
							"Sets how long a read waits for its read LSN and for a replica that has applied it.",
							NULL,
							&concord_read_timeout_ms, 30000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("concord.spin",
							"Sets for how many microseconds a backend spins for an answer before it sleeps.",
							"A wake-up costs some tens of microseconds; spinning costs processor time. 0 never spins.",
							&concord_spin_us, 0, 0, 10000, PGC_USERSET, 0, NULL, NULL, NULL);
}

static void
define_limits(void)
{
	DefineCustomIntVariable("concord.max_write_set",
							"Sets the most memory that the changes of one transaction may take.",
							"Changes of Concord tables are kept in the backend's memory until commit. Loads into tables "
							"created in the same transaction are not, and do not count.",
							&concord_max_write_set_kb, 1024 * 1024, 64, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("concord.max_read_set",
							"Sets how exactly a SERIALIZABLE transaction remembers what it has read.",
							"What takes more memory is joined to larger ranges, in the end whole tables, which makes more "
							"transactions fail with 40001 that need not.",
							&concord_max_read_set_kb, 1024, 4, 8192, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("concord.max_reader_age",
							"Sets for how long old row versions are kept for one transaction that reads.",
							"An older one gets \"snapshot too old\", and is ended if it holds on to the replica. 0: without limit.",
							&concord_max_reader_age_s, 24 * 3600, 0, INT_MAX, PGC_POSTMASTER, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("concord.reader_warning",
							"Sets the age of a reading transaction from which on the log warns of it.",
							"It is repeated when the age has doubled. 0: never.",
							&concord_reader_warning_s, 600, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("concord.allow_mixed_writes",
							 "Allows one transaction to write both Concord tables and others.",
							 "Such a transaction is not atomic: a crash between the two commits can keep the Concord half "
							 "and lose the other.",
							 &concord_allow_mixed_writes, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("concord.local_intents",
							 "Lets writers of one row or unique key on this server wait for each other.",
							 "Without it the second one to commit fails with a serialization error, as it does when the "
							 "first is on another server.",
							 &concord_local_intents, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("concord.gateway_buffer",
							"Sets the shared memory per backend through which write sets go to the gateway.",
							"A larger write set goes through it in pieces.",
							&concord_gateway_buffer_kb, 64, 4, 16 * 1024, PGC_POSTMASTER, GUC_UNIT_KB,
							NULL, NULL, NULL);
}

static void
define_sidecar(void)
{
	DefineCustomBoolVariable("concord.embedded",
							 "Starts the sidecar, concordd, with the server.",
							 "Turn it off if concordd runs as a service of its own.",
							 &concord_embedded, true, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.directory",
							   "Sets the directory of the sidecar's durable data.",
							   "A relative path is relative to the data directory. Default: \"concord\" in the data "
							   "directory.",
							   &concord_directory, "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.address",
							   "Sets the address of the adjudicator and the storage replica.",
							   "\"unix:/path\" or \"host:port\"; of a cluster, those of all adjudicators, comma-separated. "
							   "Default: the socket \"concordd.sock\" in concord.directory.",
							   &concord_address, "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.storage_address",
							   "Sets the addresses of the storage replicas, if they are processes of their own.",
							   "Comma-separated. One that is on this machine is read through its files. Default: concord.address, and "
							   "its directory is concord.directory.",
							   &concord_storage_address, "", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.tls_ca",
							   "Sets the file with the certificates by which those of Concord's other parts are checked.",
							   "PEM. Without it, only unix sockets and loopback addresses are connected to, in plain text.",
							   &concord_tls_ca, "", PGC_POSTMASTER, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.tls_cert",
							   "Sets the file with the certificate that Concord's other parts are shown.",
							   "PEM. A new content counts without a restart.",
							   &concord_tls_cert, "", PGC_POSTMASTER, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.tls_key",
							   "Sets the file with the key of concord.tls_cert.",
							   "PEM. Nobody else may read it, as with ssl_key_file.",
							   &concord_tls_key, "", PGC_POSTMASTER, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomBoolVariable("concord.local_reads",
							 "Reads a storage replica of this machine through its files.",
							 "Without it all reads go through the gateway, as if every replica were on another machine.",
							 &concord_local_reads, true, PGC_USERSET, 0, NULL, assign_local_reads, NULL);
	DefineCustomIntVariable("concord.nestloop_batch",
							"Sets how many outer rows of a nested loop are looked up in another machine's index in one request.",
							"They are read ahead of the loop, 16 at first. 0: each row is looked up by itself.",
							&concord_nestloop_batch, 256, 0, 1024, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.metrics_listen",
							   "Sets where the server's gateway serves metrics for Prometheus.",
							   "HOST:PORT of loopback. Default: nowhere.",
							   &concord_metrics_listen, "", PGC_SIGHUP, 0, check_metrics_address, NULL, NULL);
	DefineCustomStringVariable("concord.daemon_metrics_listen",
							   "Sets where the sidecar that the server starts serves metrics for Prometheus.",
							   "HOST:PORT of loopback. Default: nowhere. A change counts when the sidecar is started next.",
							   &concord_daemon_metrics_listen, "", PGC_SIGHUP, 0, check_metrics_address, NULL, NULL);
	DefineCustomStringVariable("concord.daemon_path",
							   "Sets the path of the concordd binary.",
							   "Default: beside the extension's library. A change counts when the sidecar is started next.",
							   &concord_daemon_path, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable("concord.retention",
							"Sets for how long old row versions are kept although no known reader needs them.",
							NULL,
							&concord_retention_ms, 1000, 0, INT_MAX, PGC_POSTMASTER, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("concord.checkpoint_interval",
							"Sets how often the storage replica syncs its state to disk.",
							"Commits are durable in the journal at once; this bounds how much of it is replayed after a "
							"crash of the operating system.",
							&concord_checkpoint_ms, 1000, 10, 3600 * 1000, PGC_POSTMASTER, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("concord.sweep_interval",
							"Sets how often storage that no table or index uses is looked for and removed.",
							"It is also looked for when the server starts and after DROP DATABASE. 0: only after DROP "
							"DATABASE, and when concord.sweep() is called.",
							&concord_sweep_interval_s, 3600, 0, 7 * 24 * 3600, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("concord.storage_limit",
							"Sets the largest size of the storage replica's file.",
							"Commits are refused before it is reached.",
							&concord_storage_limit_mb, 1024 * 1024, 16, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("concord.start_check",
							"Sets up to which size the storage replica's pages are all checked when the sidecar starts.",
							"A larger one is looked at in places, and checked by \"concordctl check\". 0 never checks all.",
							&concord_start_check_mb, 256, 0, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomStringVariable("concord.daemon_log_level",
							   "Sets how much the sidecar writes to the server log.",
							   "One of trace, debug, info, warning, error.",
							   &concord_daemon_log_level, "info", PGC_POSTMASTER, 0, check_log_level, NULL, NULL);
}

void
concord_define_settings(void)
{
	define_timeouts();
	define_limits();
	define_sidecar();
	MarkGUCPrefixReserved("concord");
	check_tls();
	check_addresses();
}
