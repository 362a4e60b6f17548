// The journal's protocol: seal, choose, equalise, append, and change of membership. README.md says what this leaves out, what
// it shows, and what each switch is for.

#ifndef NODES
#define NODES 4  // journal nodes that there are, 3 to 6
#endif
#ifndef FIRST
#define FIRST 7  // the first ensemble; a set of nodes is a number, bit n is node n
#endif
#ifndef EPOCHS
#define EPOCHS 3  // at most 7
#endif
#ifndef PLACES
#define PLACES 2  // records that a log can hold, at most 5
#endif
#ifndef CHANGES
#define CHANGES 1  // of the membership
#endif
#ifndef REPLACE
#define REPLACE 1  // may a change put one node in another's place, add one, remove one?
#endif
#ifndef ADD
#define ADD 0
#endif
#ifndef REMOVE
#define REMOVE 0
#endif

// what(a, n) for each node n, with `and` in between.
#if NODES == 3
#define EACH(what, a, and) what(a, 0) and what(a, 1) and what(a, 2)
#elif NODES == 4
#define EACH(what, a, and) what(a, 0) and what(a, 1) and what(a, 2) and what(a, 3)
#elif NODES == 5
#define EACH(what, a, and) what(a, 0) and what(a, 1) and what(a, 2) and what(a, 3) and what(a, 4)
#else
#define EACH(what, a, and) what(a, 0) and what(a, 1) and what(a, 2) and what(a, 3) and what(a, 4) and what(a, 5)
#endif

#define HAS(set, n) (((set) >> (n)) & 1)
#define SIZE(set) (HAS(set, 0) + HAS(set, 1) + HAS(set, 2) + HAS(set, 3) + HAS(set, 4) + HAS(set, 5))
#define WRITE_QUORUM(set) (SIZE(set) / 2 + 1)
#ifdef SEAL_TOO_FEW
#define TAKEOVER_QUORUM(set) (SIZE(set) - WRITE_QUORUM(set))
#else
#define TAKEOVER_QUORUM(set) WRITE_QUORUM(set)  // N - W + 1 is not more where W is a majority
#endif

// A log is an octal number, a digit for each record, the newest last: the epoch that the record is of.
#define END(log) ((log) == 0 -> 0 : ((log) < 8 -> 1 : ((log) < 64 -> 2 : ((log) < 512 -> 3 : ((log) < 4096 -> 4 : 5)))))
#define LAST(log) ((log) & 7)
#define UP_TO(log, end) ((log) >> (3 * (END(log) - (end))))  // its beginning; `end` is not above its end
#define BEGINS_WITH(log, other) ((log) == (other) || (log) >> 3 == (other) || (log) >> 6 == (other) || (log) >> 9 == (other) || \
  (log) >> 12 == (other) || (log) >> 15 == (other))
// As much as an append says of what comes before it.
#define GOES_ON(log, other) (END(log) >= END(other) && LAST(UP_TO(log, END(other))) == LAST(other))

// The metastore.
byte newest = 0;  // epoch
byte members = FIRST;
byte version = 0;

typedef Node {
  byte sealed;  // epoch
  short log;    // what it has synced
};
Node node[NODES];

// A leader's phases, in this order.
#define WAITING 0
#define WON 1      // has its epoch, has not read the membership
#define SEALING 2
#define LEADING 3
#define JOINT 4    // counts by two memberships
#define DECIDED 5  // the new one is on record, which the leader has not heard
#define OVER 6
typedef Leader {
  byte phase;
  byte view;           // the membership that it counts by
  byte seen;           // its version
  byte next;           // the one that it changes to
  byte heard;          // who is sealed for the takeover
  short log;           // the best that it has found; from LEADING on, its own
  byte synced[NODES];  // up to where a node has acknowledged its records, where that is above `counted`
  byte counted;        // up to where it has counted records as committed
};
Leader leader[EPOCHS];  // that of epoch e is leader[e - 1]

// A process for each leader and node: what that leader does with that node.
#define EPOCH (_pid / NODES + 1)
#define my leader[_pid / NODES]
#define you node[_pid % NODES]
#define YOU (_pid % NODES)

short committed = 0;  // the longest log that anybody has ever counted as committed

// The invariants, by what would break them. They are never set: an assertion that fails shows the name.
bool record_replaced, chosen_lacks_record, fenced_leader_commits, quorum_lacks_record, logs_differ, epoch_falls;

// What must be reachable, else the rest would prove little: with -DREACH=... an assertion must fail there.
#define OLD_TAIL_COMMITTED 1      // what a leader has left uncommitted is committed by a later one
#define TAIL_CUT 2                // a record that was never committed is cut from a node
#define COME_BACK 3               // a node with records comes back during an epoch
#define OLD_LEADER_WRITES 4       // a node takes a record from a leader that others have left
#define JOINT_COMMIT 5            // a record is committed by both memberships
#define CHANGE_REFUSED 6          // the metastore refuses a change, as there is a newer epoch
#define COMMIT_AFTER_CHANGE 7     // a later leader takes over with the new membership, and commits
#define REMOVED_COMES_BACK 8      // a node that was removed becomes a member again
#ifndef REACH
#define REACH 0
#endif
bool is_reached;
#define NOTE(what, condition) assert(is_reached || REACH != what || !(condition))

// For use within a step; zero between steps.
byte i, k;
short log;

#define IN_VIEW(k, n) (HAS(my.view, n) && my.synced[n] >= (k))
#define IN_NEXT(k, n) (HAS(my.next, n) && my.synced[n] >= (k))
#define BY_VIEW(k) ((EACH(IN_VIEW, k, +)) >= WRITE_QUORUM(my.view))
#define BY_NEXT(k) ((EACH(IN_NEXT, k, +)) >= WRITE_QUORUM(my.next))
#if defined NO_JOINT
#define ENOUGH(k) (my.phase == LEADING -> BY_VIEW(k) : BY_NEXT(k))
#elif defined OLD_UNTIL_TOLD
#define ENOUGH(k) BY_VIEW(k)
#else
#define ENOUGH(k) (BY_VIEW(k) && (my.phase == LEADING || BY_NEXT(k)))
#endif
#ifdef COMMIT_OLD_TAIL_EARLY
#define COUNTS(record) true
#else
#define COUNTS(record) (LAST(record) == EPOCH)
#endif

#define HOLDS(what, n) (HAS(members, n) && BEGINS_WITH(node[n].log, what))
#ifdef HARM_ONLY
#define CHECK_QUORUM skip
#else
#define CHECK_QUORUM assert(quorum_lacks_record || (EACH(HOLDS, committed, +)) >= WRITE_QUORUM(members))
#endif

// What the leader can count as committed now, it counts.
inline count() {
  k = END(my.log);
  do
  :: k == my.counted -> break
  :: k > my.counted && COUNTS(UP_TO(my.log, k)) && ENOUGH(k) -> break
  :: else -> k--
  od;
  if
  :: k > my.counted ->
     NOTE(JOINT_COMMIT, my.phase == JOINT);
     NOTE(COMMIT_AFTER_CHANGE, my.counted == 0 && my.seen > 0 && my.phase == LEADING);
     my.counted = k;
     log = UP_TO(my.log, k);
     printf("epoch %d: %o is committed\n", EPOCH, log);
     if
     :: END(committed) > k -> assert(record_replaced || BEGINS_WITH(committed, log))
     :: else ->
        NOTE(OLD_TAIL_COMMITTED, k > END(committed) + 1 && LAST(UP_TO(log, END(committed) + 1)) != EPOCH);
        assert(record_replaced || BEGINS_WITH(log, committed));
        committed = log
     fi;
     for (i : 0 .. EPOCHS - 1) {
       assert(fenced_leader_commits || i < EPOCH || leader[i].phase < LEADING || leader[i].phase == OVER ||
              BEGINS_WITH(leader[i].log, log))
     }
     for (i : 0 .. NODES - 1) {
       if :: my.synced[i] <= k -> my.synced[i] = 0 :: else fi
     }
     log = 0; i = 0;
     CHECK_QUORUM
  :: else
  fi;
  k = 0
}

#ifdef CHOOSE_LAST_LSN_ONLY
#define BETTER(a, b) (END(a) > END(b))
#else
#define BETTER(a, b) (LAST(a) > LAST(b) || (LAST(a) == LAST(b) && END(a) > END(b)))
#endif

inline choose() {
  printf("epoch %d: leads with %o\n", EPOCH, my.log);
  for (i : 0 .. EPOCHS - 1) {
    if :: i < EPOCH - 1 && leader[i].counted > k -> k = leader[i].counted :: else fi
  }
  assert(chosen_lacks_record || BEGINS_WITH(my.log, UP_TO(committed, k)));
#ifdef COMMIT_OLD_TAIL_EARLY
  for (i : 0 .. NODES - 1) {
    if :: HAS(my.heard, i) && node[i].log == my.log -> my.synced[i] = END(my.log) :: else fi
  }
#endif
  my.heard = 0;
  my.phase = LEADING;
  i = 0; k = 0
}

#define SEALED_ABOVE(e, n) (node[n].sealed > (e))

// A leader that every node has fenced does nothing any more: one state for all of those.
inline bury() {
  for (i : 0 .. EPOCHS - 1) {
    if
    :: leader[i].phase != OVER && EACH(SEALED_ABOVE, i + 1, &&) ->
       leader[i].phase = OVER;
       leader[i].view = 0; leader[i].seen = 0; leader[i].next = 0; leader[i].heard = 0; leader[i].log = 0;
       for (k : 0 .. NODES - 1) { leader[i].synced[k] = 0 }
    :: else
    fi
  }
  i = 0; k = 0
}

#ifdef FINE
#define CHOOSE_AT_ONCE false
#define CUT_AT_ONCE skip
#else
#define CHOOSE_AT_ONCE (SIZE(my.heard) == TAKEOVER_QUORUM(my.view))
#define CUT_AT_ONCE cut()
#endif

inline cut() {
  do
  :: BEGINS_WITH(my.log, you.log) -> break
  :: else ->
     printf("epoch %d: node %d is cut from %o\n", EPOCH, YOU, you.log);
     NOTE(TAIL_CUT, true);
     you.log = you.log >> 3
  od;
  CHECK_QUORUM
}

#ifdef FENCE_OFF
#define ACCEPTS (you.sealed >= EPOCH)
#else
#define ACCEPTS (you.sealed == EPOCH)
#endif

// Also to who may become a learner: that node's acknowledgements do not count yet.
#define WRITES (my.phase >= LEADING && my.phase != OVER && \
  (HAS(my.view | my.next, YOU) || (MAY_CHANGE && (REPLACE || ADD))))
#ifdef CHANGE_BEFORE_OWN_RECORD
#define MAY_CHANGE (my.phase == LEADING && my.seen < CHANGES)
#else
#define MAY_CHANGE (my.phase == LEADING && my.counted > 0 && my.seen < CHANGES)
#endif

#define REPLACES(_, out) \
  :: d_step { REPLACE && MAY_CHANGE && HAS(my.view, out) && !HAS(my.view, YOU) && you.sealed == EPOCH -> \
       NOTE(REMOVED_COMES_BACK, my.view != FIRST && HAS(FIRST, YOU)); \
       my.next = my.view - (1 << out) + (1 << YOU); \
       my.phase = JOINT; \
       printf("epoch %d: node %d is to replace node %d\n", EPOCH, YOU, out) \
     }

#ifdef CHANGE_WITHOUT_EPOCH
#define IS_NEWEST true
#else
#define IS_NEWEST (newest == EPOCH)
#endif
#define NEXT_HOLDS(what, n) (HAS(my.next, n) && BEGINS_WITH(node[n].log, what))
#ifdef RECORD_TOO_EARLY
#define NEXT_IS_READY true
#else
#define NEXT_IS_READY ((EACH(NEXT_HOLDS, UP_TO(my.log, my.counted), +)) >= WRITE_QUORUM(my.next))
#endif

#define ALONE (YOU == 0)  // what concerns no node, one process does

active [EPOCHS * NODES] proctype Lead() {
  do
#ifdef MEMBERSHIP_READ_BEFORE_EPOCH
  :: d_step { ALONE && my.phase == WAITING -> my.view = members; my.seen = version; my.phase = WON }
  :: d_step { ALONE && my.phase == WON && newest == EPOCH - 1 -> newest = EPOCH; my.phase = SEALING }
#else
  :: d_step { ALONE && my.phase == WAITING && newest == EPOCH - 1 -> newest = EPOCH; my.phase = WON }
  :: d_step { ALONE && my.phase == WON -> my.view = members; my.seen = version; my.phase = SEALING }
#endif
  :: d_step { my.phase == SEALING && HAS(my.view, YOU) && !HAS(my.heard, YOU) && you.sealed < EPOCH ->
       printf("epoch %d: node %d is sealed with %o\n", EPOCH, YOU, you.log);
       you.sealed = EPOCH;
       my.heard = my.heard | (1 << YOU);
       assert(logs_differ || LAST(my.log) != LAST(you.log) || END(my.log) != END(you.log) || my.log == you.log);
       if :: BETTER(you.log, my.log) -> my.log = you.log :: else fi;
       if :: CHOOSE_AT_ONCE -> choose() :: else fi;
       bury()
     }
#ifdef FINE
  :: d_step { ALONE && my.phase == SEALING && SIZE(my.heard) >= TAKEOVER_QUORUM(my.view) -> choose() }
#endif
  :: d_step { WRITES && you.sealed < EPOCH ->
       printf("epoch %d: node %d comes back with %o\n", EPOCH, YOU, you.log);
       NOTE(COME_BACK, HAS(my.view, YOU) && you.log > 0);
       you.sealed = EPOCH;
       CUT_AT_ONCE;
       bury()
     }
  :: d_step { WRITES && you.sealed == EPOCH && !BEGINS_WITH(my.log, you.log) -> cut() }
  :: d_step { WRITES && ACCEPTS && GOES_ON(my.log, you.log) && END(you.log) < PLACES ->
       assert(logs_differ || BEGINS_WITH(my.log, you.log));
       NOTE(OLD_LEADER_WRITES, EPOCH < EPOCHS && leader[EPOCH].phase == LEADING && my.log == you.log);
       if :: my.log == you.log -> my.log = (my.log << 3) | EPOCH :: else fi;
       assert(epoch_falls || LAST(you.log) <= LAST(UP_TO(my.log, END(you.log) + 1)));
       you.log = UP_TO(my.log, END(you.log) + 1);
       printf("epoch %d: node %d has %o\n", EPOCH, YOU, you.log);
       if
       :: END(you.log) > my.counted && COUNTS(you.log) -> my.synced[YOU] = END(you.log); count()
       :: else
       fi
     }
  EACH(REPLACES, 0, )
  :: d_step { ADD && MAY_CHANGE && !HAS(my.view, YOU) && you.sealed == EPOCH ->
       my.next = my.view + (1 << YOU);
       my.phase = JOINT;
       printf("epoch %d: node %d is to be added\n", EPOCH, YOU)
     }
  :: d_step { REMOVE && MAY_CHANGE && HAS(my.view, YOU) && SIZE(my.view) > 1 ->
       my.next = my.view - (1 << YOU);
       my.phase = JOINT;
       printf("epoch %d: node %d is to be removed\n", EPOCH, YOU)
     }
  :: d_step { ALONE && my.phase == JOINT && NEXT_IS_READY && IS_NEWEST && version == my.seen ->
       members = my.next;
       version++;
       my.phase = DECIDED;
       printf("epoch %d: the members are %d\n", EPOCH, members);
       CHECK_QUORUM
     }
#ifdef REMOVED_FORGETS
  :: d_step { HAS(FIRST, YOU) && !HAS(members, YOU) && you.sealed > 0 ->
       you.sealed = 0;
       you.log = 0;
       printf("node %d forgets everything\n", YOU)
     }
#endif
#ifdef BACK_IF_NOT_TOLD
  :: d_step { ALONE && my.phase == DECIDED -> my.next = 0; my.phase = LEADING; count() }
#endif
  :: d_step { ALONE && my.phase == DECIDED ->
       printf("epoch %d: counts by the members %d\n", EPOCH, my.next);
       my.view = my.next;
       my.next = 0;
       my.seen++;
       my.phase = LEADING;
       count()
     }
  :: d_step { ALONE && my.phase == JOINT ->  // given up, or refused
       NOTE(CHANGE_REFUSED, newest > EPOCH);
       my.next = 0;
       my.phase = LEADING;
       count()
     }
  od
}
