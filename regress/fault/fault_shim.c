/*
 * fault_shim.c
 *		Makes file operations of a process fail on demand, and its forks wait; loaded by LD_PRELOAD. For tests only.
 *
 * The environment variable CONCORD_FAULTS names a control file, which is read anew at every call, so a test switches faults on and
 * off while the process runs. No file, or an empty one: no faults. One rule on a line:
 *
 *		<call> <part of the path> <error>
 *
 * A part that ends in $ is the end of the path.
 *
 *		call	write	any write, allocation or new file
 *				grow	as write, but only what needs space that the file does not have: a full disk that can still overwrite.
 *						Not ftruncate, which makes a hole.
 *				sync	fsync and fdatasync, of directories too
 *				rename	by the old path
 *				fork	of the path /: waits until the rule is gone
 *		error	ENOSPC, EDQUOT, EIO; LOG to tell and not to fail; SEGV to die
 *
 * Each is told as a line "<call> <path>" at the end of the file named by CONCORD_FAULTS with ".hits" behind.
 *
 * Thread-safe: no state but the addresses of the real functions.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name)) real(#name))

static void *
real(const char *name)
{
	void	   *address = dlsym(RTLD_NEXT, name);

	if (address == NULL)
		abort();
	return address;
}

static void
tell(const char *control, const char *call, const char *path)
{
	char		name[PATH_MAX];
	char		line[PATH_MAX + 32];
	int			size = snprintf(line, sizeof(line), "%s %s\n", call, path);
	int			fd;

	snprintf(name, sizeof(name), "%s.hits", control);
	fd = REAL(open) (name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (REAL(write) (fd, line, (size_t) size) < 0)
		size = 0;
	close(fd);
}

static int
matches(const char *path, const char *part)
{
	size_t		size = strlen(part);
	size_t		path_size = strlen(path);

	if (size == 0 || part[size - 1] != '$')
		return strstr(path, part) != NULL;
	size--;
	return path_size >= size && memcmp(path + path_size - size, part, size) == 0;
}

/* The error that a call on `path` is to fail with, or 0. */
static int
fault_of_path(const char *call, const char *path, int grows)
{
	const char *control = getenv("CONCORD_FAULTS");
	char		rules[4096];
	char	   *rest = NULL;
	ssize_t		size;
	int			fd;

	if (control == NULL || (fd = REAL(open) (control, O_RDONLY | O_CLOEXEC)) < 0)
		return 0;
	size = read(fd, rules, sizeof(rules) - 1);
	close(fd);
	if (size <= 0)
		return 0;
	rules[size] = '\0';
	for (char *line = strtok_r(rules, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
	{
		char		rule_call[16];
		char		part[256];
		char		error[16];

		if (sscanf(line, "%15s %255s %15s", rule_call, part, error) != 3 || !matches(path, part))
			continue;
		if (strcmp(rule_call, call) != 0 && !(strcmp(rule_call, "grow") == 0 && strcmp(call, "write") == 0 && grows))
			continue;
		tell(control, call, path);
		if (strcmp(error, "LOG") == 0)
			continue;
		if (strcmp(error, "SEGV") == 0)
			raise(SIGSEGV);
		return strcmp(error, "ENOSPC") == 0 ? ENOSPC : strcmp(error, "EDQUOT") == 0 ? EDQUOT : EIO;
	}
	return 0;
}

/* The same for an open file; `end` is where a write would end. Space may lie behind a file's end, where fallocate has put it. */
static int
fault_of_file(const char *call, int fd, off_t end)
{
	char		link[64];
	char		path[PATH_MAX];
	struct stat info;
	ssize_t		size;

	if (getenv("CONCORD_FAULTS") == NULL)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof(path) - 1);
	if (size <= 0 || path[0] != '/' || fstat(fd, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)))
		return 0;
	path[size] = '\0';
	return fault_of_path(call, path, end > info.st_size && end > info.st_blocks * 512);
}

#define FAIL_IF(fault) do { int fault_ = (fault); if (fault_ != 0) { errno = fault_; return -1; } } while (0)

static off_t
total(const struct iovec *vector, int count)
{
	off_t		sum = 0;

	for (int i = 0; i < count; i++)
		sum += (off_t) vector[i].iov_len;
	return sum;
}

ssize_t
write(int fd, const void *data, size_t size)
{
	FAIL_IF(fault_of_file("write", fd, lseek(fd, 0, SEEK_CUR) + (off_t) size));
	return REAL(write) (fd, data, size);
}

ssize_t
writev(int fd, const struct iovec *vector, int count)
{
	FAIL_IF(fault_of_file("write", fd, lseek(fd, 0, SEEK_CUR) + total(vector, count)));
	return REAL(writev) (fd, vector, count);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	FAIL_IF(fault_of_file("write", fd, offset + (off_t) size));
	return REAL(pwrite) (fd, data, size, offset);
}

ssize_t
pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
	FAIL_IF(fault_of_file("write", fd, offset + total(vector, count)));
	return REAL(pwritev) (fd, vector, count, offset);
}

int
ftruncate(int fd, off_t size)
{
	FAIL_IF(fault_of_file("write", fd, 0));
	return REAL(ftruncate) (fd, size);
}

int
fallocate(int fd, int mode, off_t offset, off_t size)
{
	FAIL_IF(fault_of_file("write", fd, offset + size));
	return REAL(fallocate) (fd, mode, offset, size);
}

/* Gives back the error instead of setting errno. */
int
posix_fallocate(int fd, off_t offset, off_t size)
{
	int			fault = fault_of_file("write", fd, offset + size);

	return fault != 0 ? fault : REAL(posix_fallocate) (fd, offset, size);
}

int
fsync(int fd)
{
	FAIL_IF(fault_of_file("sync", fd, 0));
	return REAL(fsync) (fd);
}

int
fdatasync(int fd)
{
	FAIL_IF(fault_of_file("sync", fd, 0));
	return REAL(fdatasync) (fd);
}

int
rename(const char *from, const char *to)
{
	FAIL_IF(fault_of_path("rename", from, 0));
	return REAL(rename) (from, to);
}

int
renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned int flags)
{
	FAIL_IF(fault_of_path("rename", from, 0));
	return REAL(renameat2) (from_directory, from, to_directory, to, flags);
}

int
open(const char *path, int flags,...)
{
	mode_t		mode = 0;

	if ((flags & (O_CREAT | O_TMPFILE)) != 0)
	{
		va_list		arguments;

		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
		if (access(path, F_OK) != 0)
			FAIL_IF(fault_of_path("write", path, 1));
	}
	return REAL(open) (path, flags, mode);
}

pid_t
fork(void)
{
	while (fault_of_path("fork", "/", 0) != 0)
		usleep(10000);
	return REAL(fork) ();
}

/* On 64-bit Linux the names for large files are the same functions. */
ssize_t		pwrite64(int fd, const void *data, size_t size, off64_t offset) __attribute__((alias("pwrite")));
ssize_t		pwritev64(int fd, const struct iovec *vector, int count, off64_t offset) __attribute__((alias("pwritev")));
int			ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));
int			fallocate64(int fd, int mode, off64_t offset, off64_t size) __attribute__((alias("fallocate")));
int			posix_fallocate64(int fd, off64_t offset, off64_t size) __attribute__((alias("posix_fallocate")));
int			open64(const char *path, int flags,...) __attribute__((alias("open")));
