// The simulated program's threads, locks, clocks and randomness: this program's own definitions of the functions of
// libc by which it gets at them. They stand in the executable, which exports its symbols, so the calls of libstdc++,
// LMDB and protobuf end here too.
//
// What is in a pthread_mutex_t is used as glibc's own functions would, so that one that was initialised statically
// works; all other objects are known by their address alone.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string>

#include "sidecar/simulation/disk.h"
#include "sidecar/simulation/scheduler.h"

namespace {

using namespace concord::simulation;

constexpr int64_t kClockReadNs = 40;
constexpr unsigned kSlowWritePerMille = 50;
constexpr uint64_t kSlowWriteNs = 200 * kUs;

int64_t Nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * kSecond + time.tv_nsec; }

// Fibers only: what runs before and after them is alone.
bool Simulated() { return scheduler != nullptr && scheduler->current() != 0; }

int64_t ClockNs(clockid_t clock) {
  if (Simulated()) scheduler->Pass(kClockReadNs);
  const int node = scheduler->current_node();
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? scheduler->WallNs(node)
                                                                   : scheduler->SteadyNs(node);
}

int64_t When(clockid_t clock, int64_t clock_ns) {
  const int node = scheduler->current_node();
  return clock == CLOCK_REALTIME ? scheduler->WhenWall(node, clock_ns) : scheduler->WhenSteady(node, clock_ns);
}

int CondWait(pthread_cond_t* condition, pthread_mutex_t* mutex, int64_t deadline) {
  if (!Simulated()) abort();
  pthread_mutex_unlock(mutex);
  const bool woken = scheduler->Block(condition, deadline);
  pthread_mutex_lock(mutex);
  return woken ? 0 : ETIMEDOUT;
}

struct ThreadStart {
  void* (*body)(void*);
  void* argument;
};

}  // namespace

extern "C" {

// ---- threads ----

int pthread_create(pthread_t* thread, const pthread_attr_t*, void* (*body)(void*), void* argument) {
  if (!Simulated()) abort();
  *thread = scheduler->Spawn(scheduler->current_node(), [body, argument] { body(argument); });
  scheduler->MayPreempt();
  return 0;
}

int pthread_join(pthread_t thread, void** result) {
  if (result != nullptr) *result = nullptr;
  while (!scheduler->IsDone(thread)) scheduler->AwaitEnd(thread);
  return 0;
}

int pthread_detach(pthread_t) { return 0; }
pthread_t pthread_self() { return Simulated() ? scheduler->current() : 1; }

int sched_yield() {
  if (Simulated()) scheduler->Sleep(1);
  return 0;
}

// ---- mutexes ----

int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  auto& data = mutex->__data;
  const int self = static_cast<int>(scheduler == nullptr ? 0 : scheduler->current()) + 1;
  if (data.__lock != 0) {
    if ((data.__kind & 3) != PTHREAD_MUTEX_RECURSIVE || data.__owner != self) return EBUSY;
    data.__count++;
    return 0;
  }
  data.__lock = 1;
  data.__owner = self;
  data.__count = 1;
  return 0;
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  if (Simulated()) scheduler->MayPreempt();
  while (pthread_mutex_trylock(mutex) != 0) {
    if (!Simulated()) abort();
    scheduler->Block(mutex);
  }
  return 0;
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) {
  auto& data = mutex->__data;
  if ((data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE && --data.__count > 0) return 0;
  data.__lock = 0;
  data.__owner = 0;
  if (Simulated()) scheduler->WakeOne(mutex);
  return 0;
}

int pthread_mutex_destroy(pthread_mutex_t*) { return 0; }
int pthread_mutex_consistent(pthread_mutex_t*) { return 0; }

// ---- conditions ----

int pthread_cond_init(pthread_cond_t* condition, const pthread_condattr_t*) {
  memset(condition, 0, sizeof *condition);
  return 0;
}
int pthread_cond_destroy(pthread_cond_t*) { return 0; }
int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) { return CondWait(condition, mutex, kNever); }
int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* deadline) {
  return CondWait(condition, mutex, When(CLOCK_REALTIME, Nanoseconds(*deadline)));
}
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* deadline) {
  return CondWait(condition, mutex, When(clock, Nanoseconds(*deadline)));
}
int pthread_cond_signal(pthread_cond_t* condition) {
  if (Simulated()) scheduler->WakeOne(condition);
  return 0;
}
int pthread_cond_broadcast(pthread_cond_t* condition) {
  if (Simulated()) scheduler->WakeAll(condition);
  return 0;
}

// ---- read-write locks: __readers counts them, __cur_writer is who writes ----

int pthread_rwlock_init(pthread_rwlock_t* lock, const pthread_rwlockattr_t*) {
  memset(lock, 0, sizeof *lock);
  return 0;
}
int pthread_rwlock_destroy(pthread_rwlock_t*) { return 0; }
int pthread_rwlock_tryrdlock(pthread_rwlock_t* lock) {
  if (lock->__data.__cur_writer != 0) return EBUSY;
  lock->__data.__readers++;
  return 0;
}
int pthread_rwlock_trywrlock(pthread_rwlock_t* lock) {
  if (lock->__data.__cur_writer != 0 || lock->__data.__readers != 0) return EBUSY;
  lock->__data.__cur_writer = 1;
  return 0;
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
  if (Simulated()) scheduler->MayPreempt();
  while (pthread_rwlock_tryrdlock(lock) != 0) scheduler->Block(lock);
  return 0;
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
  if (Simulated()) scheduler->MayPreempt();
  while (pthread_rwlock_trywrlock(lock) != 0) scheduler->Block(lock);
  return 0;
}
int pthread_rwlock_unlock(pthread_rwlock_t* lock) {
  if (lock->__data.__cur_writer != 0) {
    lock->__data.__cur_writer = 0;
  } else {
    lock->__data.__readers--;
  }
  if (Simulated()) scheduler->WakeAll(lock);
  return 0;
}

// ---- once, and the futexes of std::atomic, of semaphores and of static variables ----

int pthread_once(pthread_once_t* once, void (*body)()) {
  constexpr pthread_once_t kRunning = 1, kDone = 2;  // as glibc has it
  while (*once == kRunning) scheduler->Block(once);
  if (*once == kDone) return 0;
  *once = kRunning;
  try {
    body();
  } catch (...) {
    *once = 0;
    if (Simulated()) scheduler->WakeAll(once);
    throw;
  }
  *once = kDone;
  if (Simulated()) scheduler->WakeAll(once);
  return 0;
}

long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long arguments[6];
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  if (number == SYS_futex && Simulated()) {
    const auto* const word = reinterpret_cast<const int*>(arguments[0]);
    const int operation = static_cast<int>(arguments[1]) & FUTEX_CMD_MASK;
    if (operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET) {
      if (*word != static_cast<int>(arguments[2])) {
        errno = EAGAIN;
        return -1;
      }
      const auto* const limit = reinterpret_cast<const timespec*>(arguments[3]);
      int64_t deadline = kNever;
      if (limit != nullptr && operation == FUTEX_WAIT) deadline = scheduler->now() + Nanoseconds(*limit);
      if (limit != nullptr && operation == FUTEX_WAIT_BITSET) deadline = When(CLOCK_MONOTONIC, Nanoseconds(*limit));
      if (scheduler->Block(word, deadline)) return 0;
      errno = ETIMEDOUT;
      return -1;
    }
    scheduler->WakeAll(word);
    return 0;
  }
  static const auto real = reinterpret_cast<long (*)(long, ...)>(dlsym(RTLD_NEXT, "syscall"));
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

// ---- clocks ----

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  if (scheduler == nullptr) return static_cast<int>(syscall(SYS_clock_gettime, clock, time));
  const int64_t ns = ClockNs(clock);
  *time = {ns / kSecond, ns % kSecond};
  return 0;
}
int gettimeofday(timeval* time, void*) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
time_t time(time_t* to) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to != nullptr) *to = now.tv_sec;
  return now.tv_sec;
}
int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec*) {
  const int64_t ns = Nanoseconds(*time);
  scheduler->Block(nullptr, (flags & TIMER_ABSTIME) != 0 ? When(clock, ns) : scheduler->now() + ns);
  return 0;
}
int nanosleep(const timespec* time, timespec*) { return clock_nanosleep(CLOCK_MONOTONIC, 0, time, nullptr); }
int usleep(useconds_t us) {
  scheduler->Sleep(int64_t{us} * kUs);
  return 0;
}

// ---- the disk (disk.h) ----

// A write may take a moment, in which others go on.
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  if (Simulated() && scheduler->Chance(kSlowWritePerMille))
    scheduler->Sleep(static_cast<int64_t>(scheduler->Below(kSlowWriteNs)));
  return syscall(SYS_pwrite64, fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off_t offset) { return pwrite(fd, bytes, size, offset); }

int fsync(int fd) { return Disk::Sync(fd); }
int fdatasync(int fd) { return Disk::Sync(fd); }

// A copy of a directory has other inodes; the simulated node has the same disk.
int statx(int directory, const char* path, int flags, unsigned mask, struct statx* info) noexcept {
  const long result = syscall(SYS_statx, directory, path, flags, mask, info);
  if (result == 0) {
    info->stx_ino = 1;
    info->stx_btime = {};
  }
  return static_cast<int>(result);
}
int fallocate(int, int, off_t, off_t) {
  errno = EOPNOTSUPP;
  return -1;
}
int fstatvfs(int, struct statvfs* disk) noexcept {
  *disk = {};
  disk->f_frsize = 4096;
  disk->f_bavail = uint64_t{1} << 32;
  return 0;
}

// ---- randomness ----

ssize_t getrandom(void* buffer, size_t size, unsigned) {
  for (size_t i = 0; i < size; i++) static_cast<char*>(buffer)[i] = static_cast<char>(scheduler->random()());
  return static_cast<ssize_t>(size);
}
unsigned SimulatedRandomDevice(void*) asm("_ZNSt13random_device9_M_getvalEv");
unsigned SimulatedRandomDevice(void*) { return static_cast<unsigned>(scheduler->random()()); }
}
