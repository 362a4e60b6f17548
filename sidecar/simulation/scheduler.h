// The virtual machine room: threads that run one at a time, a clock that jumps, and nodes to which both belong.
//
// Every thread of the simulated program is a fiber of the one real thread (interpose.cpp makes pthread_create begin
// one). A fiber runs until it waits, or until a point at which it may be pre-empted; who comes next is chosen by the
// seed. Time passes in tiny random steps while somebody runs, and jumps to the next timer when nobody can.
//
// Invariant: a run is a function of its seed. Nothing here may depend on an address, on real time, or on what another
// run has left behind.
//
// Not thread-safe: there is one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace concord::simulation {

inline constexpr int64_t kUs = 1'000;  // in nanoseconds, the unit of all times here
inline constexpr int64_t kMs = 1'000'000;
inline constexpr int64_t kSecond = 1'000'000'000;
inline constexpr int64_t kNever = INT64_MAX;

struct Fiber;

// A machine, or a process on one of its own. Its clocks: `drift_ppm` of the steady one, and a wall clock that may step.
struct Node {
  std::string name;
  bool alive = true;
  int64_t frozen_until = 0;  // stopped, as by SIGSTOP; its timers go on
  int64_t wall_offset = 0;
  int64_t drift_ppm = 0;
};

class Scheduler {
 public:
  using Random = std::mt19937_64;

  explicit Scheduler(uint64_t seed);
  Scheduler(const Scheduler&) = delete;
  ~Scheduler();

  // Runs `main` as the first fiber, of node 0, until it returns. False if nobody could go on before.
  bool Run(std::function<void()> main);

  // ---- nodes ----
  int AddNode(const std::string& name);
  Node& node(int id) { return nodes_[static_cast<size_t>(id)]; }
  int nodes() const { return static_cast<int>(nodes_.size()); }
  int current_node() const;
  // Its fibers never run again, and nothing of theirs is undone. Not from one of them.
  void Kill(int node);
  void Freeze(int node, int64_t until);

  // ---- fibers ----
  uint64_t Spawn(int node, std::function<void()> body);
  bool IsDone(uint64_t fiber) const;
  void AwaitEnd(uint64_t fiber);
  uint64_t current() const;
  // Waits until somebody wakes `address`, or until `deadline` of now(); false if it was the deadline.
  bool Block(const void* address, int64_t deadline = kNever);
  void WakeOne(const void* address);
  void WakeAll(const void* address);
  // A point at which another may go on.
  void MayPreempt();
  void Sleep(int64_t duration);

  // ---- time ----
  int64_t now() const { return now_; }
  // Time that the present fiber's work takes.
  void Pass(int64_t ns) { now_ += ns; }
  // Calls `event`, which must not wait, at that time. For the network and the faults; of no node.
  void At(int64_t time, std::function<void()> event);
  int64_t SteadyNs(int node) const;
  int64_t WallNs(int node) const;
  // When that clock of the node will show `clock_ns`.
  int64_t WhenSteady(int node, int64_t clock_ns) const;
  int64_t WhenWall(int node, int64_t clock_ns) const;
  int64_t node_drift(int node) const { return nodes_[static_cast<size_t>(node)].drift_ppm; }

  // ---- the seed, and what has become of it ----
  Random& random() { return random_; }
  uint64_t Below(uint64_t limit) { return random_() % limit; }
  bool Chance(unsigned per_mille) { return random_() % 1000 < per_mille; }
  void set_preempt_per_mille(unsigned per_mille) { preempt_per_mille_ = per_mille; }
  // Enters an event into the run's fingerprint.
  void Note(uint64_t what);
  uint64_t fingerprint() const { return fingerprint_; }
  uint64_t switches() const { return switches_; }
  // Of all fibers, for who looks into a run that is stuck. Where each of them waits goes to standard error if
  // CONCORD_SIMULATION_STACKS is set.
  std::string Describe();

 private:
  struct Timer {
    int64_t time;
    uint64_t sequence;
    uint64_t fiber;  // 0: `event`
    std::function<void()> event;
    bool operator<(const Timer& other) const {
      return time != other.time ? time < other.time : sequence < other.sequence;
    }
  };

  static void Entry();
  void Reschedule();
  void FireTimers();
  Fiber* PickNext();
  void MakeRunnable(Fiber* fiber, bool timed_out);
  void Finish();

  Random random_;
  unsigned preempt_per_mille_ = 50;
  int64_t now_ = 0;
  uint64_t timer_sequence_ = 0;
  uint64_t fingerprint_ = 0;
  uint64_t switches_ = 0;
  bool stuck_ = false;
  bool over_ = false;
  std::deque<Node> nodes_;
  std::map<uint64_t, std::unique_ptr<Fiber>> fibers_;  // by id
  std::vector<Fiber*> runnable_;
  std::multimap<const void*, Fiber*> waiting_;  // looked up only, never walked; equal keys in order of arrival
  std::set<Timer> timers_;
  std::vector<char*> stacks_;  // free ones
  uint64_t last_fiber_ = 0;
  Fiber* current_ = nullptr;
  Fiber* dumper_ = nullptr;
};

// The one of this process; null before it begins.
extern Scheduler* scheduler;

}  // namespace concord::simulation
