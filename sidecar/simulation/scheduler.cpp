#include "sidecar/simulation/scheduler.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace concord::simulation {

namespace {

constexpr size_t kStackBytes = 512u << 10;
constexpr int64_t kWallStart = int64_t{1'800'000'000} * kSecond;
constexpr int64_t kStepNsMax = 2000;  // that pass from one choice to the next

// What the C++ runtime keeps for each thread while exceptions are in flight (Itanium ABI, 2.2.2).
struct ExceptionState {
  void* caught = nullptr;
  unsigned uncaught = 0;
};

}  // namespace

struct Fiber {
  uint64_t id = 0;
  int node = 0;
  enum class State : uint8_t { kRunnable, kBlocked, kDone } state = State::kRunnable;
  bool timed_out = false;
  bool dead = false;
  const void* address = nullptr;
  int64_t deadline = kNever;
  uint64_t timer_sequence = 0;
  std::function<void()> body;
  char* stack = nullptr;
  ucontext_t context{};
  ExceptionState exceptions;
  int saved_errno = 0;
};

Scheduler* scheduler = nullptr;

namespace {

ucontext_t main_context;

void Switch(Fiber* from, Fiber* to, ucontext_t* to_main) {
  auto* const globals = reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  if (from != nullptr) {
    from->exceptions = *globals;
    from->saved_errno = errno;
  }
  if (to != nullptr) {
    *globals = to->exceptions;
    errno = to->saved_errno;
  }
  ucontext_t* const here = from != nullptr ? &from->context : &main_context;
  swapcontext(here, to != nullptr ? &to->context : to_main);
}

}  // namespace

Scheduler::Scheduler(uint64_t seed) : random_(seed) {
  scheduler = this;
  __libc_single_threaded = 0;  // what libstdc++ would leave out is waited for
  AddNode("world");
}

Scheduler::~Scheduler() { scheduler = nullptr; }

bool Scheduler::Run(std::function<void()> main) {
  Spawn(0, [this, main = std::move(main)] {
    main();
    over_ = true;
  });
  Fiber* const first = PickNext();
  current_ = first;
  Switch(nullptr, first, nullptr);
  return !stuck_;
}

int Scheduler::AddNode(const std::string& name) {
  nodes_.push_back({.name = name});
  return static_cast<int>(nodes_.size()) - 1;
}

int Scheduler::current_node() const { return current_ == nullptr ? 0 : current_->node; }
uint64_t Scheduler::current() const { return current_ == nullptr ? 0 : current_->id; }

void Scheduler::Kill(int id) {
  node(id).alive = false;
  Note(0xdead0000 + static_cast<uint64_t>(id));
  for (auto& [fiber_id, fiber] : fibers_) {
    if (fiber->node == id && fiber->state != Fiber::State::kDone) fiber->dead = true;
  }
  std::erase_if(runnable_, [](const Fiber* fiber) { return fiber->dead; });
}

void Scheduler::Freeze(int id, int64_t until) {
  node(id).frozen_until = until;
  At(until, [] {});  // so that time gets there
}

uint64_t Scheduler::Spawn(int node, std::function<void()> body) {
  auto fiber = std::make_unique<Fiber>();
  fiber->id = ++last_fiber_;
  fiber->node = node;
  fiber->body = std::move(body);
  if (stacks_.empty()) {
    fiber->stack = static_cast<char*>(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0));
    if (fiber->stack == MAP_FAILED) abort();
    mprotect(fiber->stack, 4096, PROT_NONE);
  } else {
    fiber->stack = stacks_.back();
    stacks_.pop_back();
  }
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = kStackBytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, &Scheduler::Entry, 0);
  runnable_.push_back(fiber.get());
  const uint64_t id = fiber->id;
  fibers_.emplace(id, std::move(fiber));
  return id;
}

void Scheduler::Entry() {
  scheduler->current_->body();
  scheduler->Finish();
}

void Scheduler::Finish() {
  current_->state = Fiber::State::kDone;
  current_->body = nullptr;
  WakeAll(current_);
  Reschedule();
  abort();
}

bool Scheduler::IsDone(uint64_t fiber) const {
  const auto found = fibers_.find(fiber);
  return found == fibers_.end() || found->second->state == Fiber::State::kDone;
}

void Scheduler::AwaitEnd(uint64_t fiber) {
  if (!IsDone(fiber)) Block(fibers_.at(fiber).get());
}

bool Scheduler::Block(const void* address, int64_t deadline) {
  if (current_ == nullptr) abort();  // nobody else could wake it
  if (deadline <= now_) {
    MayPreempt();
    return false;
  }
  current_->state = Fiber::State::kBlocked;
  current_->address = address;
  current_->deadline = deadline;
  current_->timed_out = false;
  if (address != nullptr) waiting_.emplace(address, current_);
  if (deadline != kNever) {
    current_->timer_sequence = ++timer_sequence_;
    timers_.insert({deadline, current_->timer_sequence, current_->id, nullptr});
  }
  Reschedule();
  return !current_->timed_out;
}

void Scheduler::MakeRunnable(Fiber* fiber, bool timed_out) {
  if (fiber->deadline != kNever && !timed_out) timers_.erase({fiber->deadline, fiber->timer_sequence, 0, nullptr});
  if (fiber->address != nullptr) {
    for (auto [at, end] = waiting_.equal_range(fiber->address); at != end; ++at) {
      if (at->second != fiber) continue;
      waiting_.erase(at);
      break;
    }
  }
  fiber->state = Fiber::State::kRunnable;
  fiber->address = nullptr;
  fiber->deadline = kNever;
  fiber->timed_out = timed_out;
  if (!fiber->dead) runnable_.push_back(fiber);
}

void Scheduler::WakeOne(const void* address) {
  auto [begin, end] = waiting_.equal_range(address);
  std::vector<Fiber*> live;
  for (auto at = begin; at != end; ++at) {
    if (!at->second->dead) live.push_back(at->second);
  }
  if (!live.empty()) MakeRunnable(live[live.size() == 1 ? 0 : Below(live.size())], false);
}

void Scheduler::WakeAll(const void* address) {
  auto [begin, end] = waiting_.equal_range(address);
  std::vector<Fiber*> all;
  for (auto at = begin; at != end; ++at) all.push_back(at->second);
  for (Fiber* fiber : all) MakeRunnable(fiber, false);
}

void Scheduler::MayPreempt() {
  if (current_ == nullptr || !Chance(preempt_per_mille_)) return;
  runnable_.push_back(current_);
  Reschedule();
}

void Scheduler::Sleep(int64_t duration) { Block(nullptr, now_ + std::max<int64_t>(duration, 0)); }

void Scheduler::At(int64_t time, std::function<void()> event) {
  timers_.insert({std::max(time, now_), ++timer_sequence_, 0, std::move(event)});
}

void Scheduler::FireTimers() {
  while (!timers_.empty() && timers_.begin()->time <= now_) {
    auto handle = timers_.extract(timers_.begin());
    Timer& timer = handle.value();
    if (timer.fiber == 0) {
      timer.event();
      continue;
    }
    Fiber* const fiber = fibers_.at(timer.fiber).get();
    if (fiber->state == Fiber::State::kBlocked && fiber->timer_sequence == timer.sequence) MakeRunnable(fiber, true);
  }
}

Fiber* Scheduler::PickNext() {
  for (;;) {
    FireTimers();
    std::vector<size_t> ready;
    for (size_t i = 0; i < runnable_.size(); i++) {
      if (node(runnable_[i]->node).frozen_until <= now_) ready.push_back(i);
    }
    if (!ready.empty()) {
      const size_t at = ready[ready.size() == 1 ? 0 : Below(ready.size())];
      Fiber* const next = runnable_[at];
      runnable_[at] = runnable_.back();
      runnable_.pop_back();
      return next;
    }
    if (timers_.empty()) return nullptr;
    now_ = timers_.begin()->time;
  }
}

void Scheduler::Reschedule() {
  Fiber* const from = current_;
  now_ += static_cast<int64_t>(Below(kStepNsMax));
  Fiber* const next = over_ ? nullptr : PickNext();
  // Not its own: it stands on it until it has left.
  if (from->state == Fiber::State::kDone) {
    // Another one's that ended before.
    for (auto at = fibers_.begin(); at != fibers_.end();) {
      Fiber* const done = at->second.get();
      if (done->state == Fiber::State::kDone && done != from) {
        stacks_.push_back(done->stack);
        at = fibers_.erase(at);
      } else {
        ++at;
      }
    }
  }
  if (next == nullptr) {
    stuck_ = !over_;
    Switch(from, nullptr, &main_context);
    return;
  }
  if (next == from) return;
  switches_++;
  Note(next->id);
  current_ = next;
  Switch(from, next, nullptr);
  while (dumper_ != nullptr) {
    void* addresses[32];
    backtrace_symbols_fd(addresses, backtrace(addresses, 32), STDERR_FILENO);
    Switch(current_, dumper_, nullptr);
  }
}

void Scheduler::Note(uint64_t what) {
  fingerprint_ = (fingerprint_ ^ what ^ static_cast<uint64_t>(now_) << 20) * UINT64_C(0x9e3779b97f4a7c15);
  fingerprint_ ^= fingerprint_ >> 29;
}

int64_t Scheduler::SteadyNs(int id) const {
  // Not 0: zero times mean "never" to some.
  return 1000 * kSecond + now_ + now_ / 1'000'000 * nodes_[static_cast<size_t>(id)].drift_ppm;
}
int64_t Scheduler::WallNs(int id) const {
  return kWallStart + SteadyNs(id) + nodes_[static_cast<size_t>(id)].wall_offset;
}
int64_t Scheduler::WhenSteady(int id, int64_t clock_ns) const {
  const int64_t ahead = clock_ns - SteadyNs(id);
  return ahead <= 0 ? now_ : ahead >= kNever / 4 ? kNever : now_ + ahead - ahead / 1'000'000 * node_drift(id);
}
int64_t Scheduler::WhenWall(int id, int64_t clock_ns) const {
  const int64_t base = kWallStart + nodes_[static_cast<size_t>(id)].wall_offset;
  return clock_ns >= kNever / 2 ? kNever : WhenSteady(id, clock_ns - base);
}

std::string Scheduler::Describe() {
  std::string text;
  const bool stacks = getenv("CONCORD_SIMULATION_STACKS") != nullptr;
  for (const auto& [id, fiber] : fibers_) {
    if (fiber->dead || fiber->state == Fiber::State::kDone) continue;
    char line[160];
    snprintf(line, sizeof line, "fiber %lu of %s %s\n", static_cast<unsigned long>(id),
             nodes_[static_cast<size_t>(fiber->node)].name.c_str(),
             fiber->state == Fiber::State::kBlocked ? "waits" : "can run");
    text += line;
    if (!stacks || fiber->state != Fiber::State::kBlocked) continue;
    fputs(line, stderr);
    Fiber self;
    dumper_ = current_ == nullptr ? &self : current_;
    Fiber* const was = std::exchange(current_, fiber.get());
    Switch(dumper_, fiber.get(), nullptr);
    current_ = was;
    dumper_ = nullptr;
  }
  return text;
}

}  // namespace concord::simulation
