// Holds what the clients were told against the journal and against the tables.
//
//  - acknowledged: in the journal, whole; refused: not there; unknown: there whole or not at all
//  - if A was acknowledged before B's commit was sent, A's LSN is lower; a read LSN is not below what was acknowledged
//    before it was asked for, and below all that is sent after it was answered
//  - the tables hold exactly what the committed operations make of them in LSN order, whichever index is read
//  - no key was ever there twice, and the accounts sum up to what they began with
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "client.h"
#include "history.h"
#include "journal_tail.h"

namespace torture {

class Checker {
 public:
  // Makes the tables.
  bool Prepare(PGconn* connection);
  // Before a round: its own lists, and a new start for tables that have become large. Returns the first list's number.
  int64_t BeginRound(PGconn* connection, bool* ok);
  // After a round, with all clients stopped. True if nothing is wrong; else it is on standard error.
  bool Check(PGconn* connection, const std::vector<Op>& ops, JournalTail* journal);

  struct Counts {
    int64_t acknowledged = 0, refused = 0, unknown = 0, unknown_committed = 0;
    std::map<std::string, int64_t> refusals;  // by the text's first words
  };
  const Counts& counts() const { return counts_; }

  // Parts of Check, for its test. What is wrong goes to standard error and is counted.
  void CheckHistory(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed);
  void CompareRows(const std::string& how, std::vector<std::string> expected, std::vector<std::string> rows);
  int wrongs() const { return wrongs_; }

 private:
  struct Row {
    int64_t value = 0;  // owner, balance
    std::string text;   // elements
    std::string op;
  };
  using Table = std::map<int64_t, Row>;

  void CheckOutcomes(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed);
  void CheckOrder(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed);
  void Replay(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed);
  void Apply(const Op& op);
  void Put(Table* table, int64_t key, Row row, const Op& op);
  void Remove(Table* table, const Op& op);
  void CheckTables(PGconn* connection);
  void CompareTable(PGconn* connection, const std::string& columns, const std::string& table,
                    const std::vector<std::string>& conditions, const std::vector<std::string>& expected);
  void Wrong(const std::string& text);

  Table items_, accounts_, lists_, claims_;
  std::map<std::string, int64_t> removed_;  // marker -> key
  int64_t lists_made_ = 0;
  int wrongs_ = 0;
  Counts counts_;
};

}  // namespace torture
