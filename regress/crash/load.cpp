#include "regress/crash/load.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "core/key.h"
#include "regress/crash/recording.h"
#include "sidecar/rpc/server.h"

namespace concord::crash {
namespace {

constexpr StorageId kAccounts = 1, kNumber = 2, kHistory = 3, kFirstLoaded = 100;
constexpr uint64_t kAccountCount = 200;
constexpr int64_t kOpeningBalance = 1000;
constexpr size_t kLargeBytes = 300'000;  // of a value that comes in parts
constexpr int kReadySecondsMax = 60;
constexpr int kReplySecondsMax = 60;

std::string EntryKey(StorageId storage, uint64_t value, uint64_t rowid) {
  std::string key;
  AppendBe64(&key, Prefix(Space::kEntry, storage));
  AppendBe64(&key, value);
  AppendBe64(&key, rowid);
  return key;
}

int64_t Balance(const std::map<std::string, std::string>& state, uint64_t account) {
  const auto found = state.find(RowKey(kAccounts, account));
  return found == state.end() ? kOpeningBalance : std::stoll(found->second);
}

// No two places of it look the same.
std::string Pattern(size_t size, uint64_t number) {
  std::string value(size, '\0');
  for (size_t i = 0; i < size; i++) value[i] = static_cast<char>('a' + (number + i + i / 251) % 26);
  return value;
}

Token RandomToken(Random* random) {
  Token token;
  for (uint8_t& byte : token) byte = static_cast<uint8_t>((*random)());
  return token;
}

bool Listens(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool answered = fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  if (fd >= 0) close(fd);
  return answered;
}

void SetDeadline(grpc::ClientContext* context, int seconds) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", static_cast<uint8_t>(byte));
    out += digits;
  }
  return out;
}

std::string Difference(const std::map<std::string, std::string>& expected,
                       const std::map<std::string, std::string>& there) {
  size_t missing = 0, more = 0, other = 0;
  std::string first;
  for (const auto& [key, value] : expected) {
    const auto found = there.find(key);
    if (found == there.end()) {
      if (missing++ == 0) first = Hex(key);
    } else if (found->second != value) {
      other++;
    }
  }
  for (const auto& [key, value] : there) more += expected.contains(key) ? 0 : 1;
  return std::to_string(missing) + " keys are missing, " + std::to_string(more) + " should not be there, " +
         std::to_string(other) + " have another value, of " + std::to_string(expected.size()) +
         (first.empty() ? "" : "; the first that is missing is " + first);
}

}  // namespace

Load::Load(uint64_t seed) : random_(seed), next_loaded_(kFirstLoaded) {}

std::optional<StorageId> Load::AnyLoaded() {
  const auto found = state_.lower_bound(RowKey(kFirstLoaded + static_cast<StorageId>(random_() % 8), 0));
  if (found == state_.end() || KeySpace(found->first) != Space::kRow) return std::nullopt;
  return KeyStorage(found->first);
}

Load::Transaction Load::Next() {
  Transaction out;
  out.token = RandomToken(&random_);
  const uint64_t number = sent() + 1;
  auto& changes = out.changes;
  changes[RowKey(kNumber, 1)] = std::to_string(number);
  // Some accounts give to others.
  for (uint64_t i = 1 + random_() % 4; i > 0; i--) {
    const uint64_t from = random_() % kAccountCount, to = random_() % kAccountCount;
    const auto amount = static_cast<int64_t>(random_() % 100);
    const auto add = [&](uint64_t account, int64_t delta) {
      const std::string key = RowKey(kAccounts, account);
      const auto own = changes.find(key);
      const int64_t before = own != changes.end() ? std::stoll(*own->second) : Balance(state_, account);
      changes[key] = std::to_string(before + delta);
      changes[EntryKey(kAccounts, static_cast<uint64_t>(before + (int64_t{1} << 40)), account)] = std::nullopt;
      changes[EntryKey(kAccounts, static_cast<uint64_t>(before + delta + (int64_t{1} << 40)), account)] = "entry";
    };
    add(from, -amount);
    add(to, amount);
  }
  // Rows of all sizes come and go.
  const size_t sizes[] = {10, 100, 1000, 9000};
  changes[RowKey(kHistory, number)] = Pattern(random_() % 16 == 0 ? kLargeBytes : sizes[random_() % 4], number);
  if (number > 50) changes[RowKey(kHistory, number - 1 - random_() % 50)] = std::nullopt;
  // Nothing is told to the storage about a key that is not there.
  std::erase_if(changes,
                [&](const auto& change) { return !change.second.has_value() && !state_.contains(change.first); });
  // Tables too.
  std::optional<StorageId> loaded, dropped;
  if (random_() % 8 == 0) {
    loaded = next_loaded_++;
    for (uint64_t row = 0; row < 5 + random_() % 40; row++)
      changes[RowKey(*loaded, row)] = Pattern(sizes[random_() % 3], number + row);
  }
  if (random_() % 10 == 0) dropped = AnyLoaded();
  if (dropped.has_value()) {
    for (auto row = state_.lower_bound(RowKey(*dropped, 0)); row != state_.end(); ++row) {
      if (KeySpace(row->first) != Space::kRow || KeyStorage(row->first) != *dropped) break;
      changes[row->first] = std::nullopt;
    }
  }
  Encode(loaded, dropped, &out);
  for (const auto& [key, value] : changes) {
    if (value.has_value()) {
      state_[key] = *value;
    } else {
      state_.erase(key);
    }
  }
  return out;
}

void Load::Encode(std::optional<StorageId> loaded, std::optional<StorageId> dropped, Transaction* out) {
  std::string mutations, rows;
  uint32_t count = 0;
  const bool staged = random_() % 8 == 0;
  const auto end_chunk = [&](uint8_t flags) {
    out->chunks.push_back(EncodeChunk(out->token, static_cast<uint32_t>(out->chunks.size()), flags, mutations));
    mutations.clear();
    count = 0;
  };
  for (const auto& [key, value] : out->changes) {
    if (dropped == KeyStorage(key)) continue;
    if (loaded == KeyStorage(key)) {
      AppendMutation(&rows, MutationOp::kPut, key, *value);
      if (random_() % 20 == 0) {
        out->immediate.push_back(
            EncodeChunk(out->token, static_cast<uint32_t>(out->immediate.size()), kChunkImmediate, rows));
        rows.clear();
      }
    } else if (value.has_value() && value->size() >= kLargeBytes) {
      for (size_t at = 0; at < value->size();) {
        const size_t size = std::min<size_t>(value->size() - at, 1 + random_() % (kLargeBytes / 2));
        AppendPart(&mutations, key, *value, at, size);
        count++;
        at += size;
        if (at < value->size() && random_() % 2 == 0) end_chunk(kChunkUnfinished);
      }
    } else {
      AppendMutation(&mutations, value.has_value() ? MutationOp::kPut : MutationOp::kDelete, key, value.value_or(""));
      count++;
    }
    if (staged && random_() % 2 == 0 && !mutations.empty()) end_chunk(0);
  }
  if (!rows.empty())
    out->immediate.push_back(
        EncodeChunk(out->token, static_cast<uint32_t>(out->immediate.size()), kChunkImmediate, rows));
  if (dropped.has_value()) count += AppendStorageDrop(&mutations, *dropped);
  out->write_set =
      EncodeWriteSet(out->token, read_lsn_, static_cast<uint32_t>(out->chunks.size()), 0, "", count, mutations);
}

std::string Load::Run(const std::string& address, size_t count, int acknowledged) {
  const auto stub = proto::Adjudicator::NewStub(Connect(address));
  grpc::ClientContext context;
  SetDeadline(&context, kReplySecondsMax);
  const auto stream = stub->Session(&context);
  const uint64_t before = sent();
  const uint64_t window = 1 + random_() % 16;
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  uint64_t told = before;
  uint64_t chunks_told = 0;
  bool broken = false;
  std::string wrong;

  std::thread reader([&] {
    proto::SessionReply reply;
    while (stream->Read(&reply)) {
      const std::lock_guard lock(mutex);
      for (const proto::Verdict& verdict : reply.verdicts()) {
        if (verdict.request_id() == 0 && verdict.outcome() == proto::COMMITTED) {
          chunks_told++;
          continue;
        }
        if (verdict.outcome() != proto::COMMITTED) {
          // A sidecar that is asked to end refuses what it has not begun.
          if (verdict.outcome() != proto::UNAVAILABLE && verdict.outcome() != proto::IN_DOUBT)
            wrong = "commit " + std::to_string(verdict.request_id()) + " got outcome " +
                    std::to_string(verdict.outcome()) + " " + verdict.message();
          broken = true;
          break;
        }
        if (verdict.request_id() != ++told) wrong = "verdicts are not in order";
        RecordingHead head{.size = sizeof head, .type = RECORDING_ACK, .pad = {}, .handle = 0, .a = told, .b = 0};
        if (write(acknowledged, &head, sizeof head) != sizeof head) wrong = "the recording cannot be written";
      }
      changed.notify_all();
      if (broken || !wrong.empty()) break;
    }
    const std::lock_guard lock(mutex);
    broken = true;
    changed.notify_all();
  });
  uint64_t chunks_sent = 0;
  for (size_t i = 0; i < count; i++) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return broken || sent() - told < window; });
      if (broken) break;
    }
    Transaction transaction = Next();
    proto::SessionRequest ahead;
    if (random_() % 12 == 0) {
      // One that never commits, whether it says so or not.
      const Token token = RandomToken(&random_);
      std::string mutations;
      AppendMutation(&mutations, MutationOp::kPut, RowKey(kHistory, 1 + random_() % (sent() + 1)), "never");
      ahead.add_chunks()->set_chunk(EncodeChunk(token, 0, 0, mutations));
      if (random_() % 2 == 0) ahead.add_abandons()->set_token(token.data(), token.size());
    }
    for (const std::string& chunk : transaction.immediate) ahead.add_chunks()->set_chunk(chunk);
    for (const std::string& chunk : transaction.chunks) ahead.add_chunks()->set_chunk(chunk);
    if (ahead.chunks_size() > 0) {
      // As a backend does: a commit whose chunks the replica has not looked at yet is refused.
      chunks_sent += static_cast<uint64_t>(ahead.chunks_size());
      if (!stream->Write(ahead)) break;
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return broken || chunks_told == chunks_sent; });
      if (broken) break;
    }
    proto::SessionRequest request;
    proto::CommitRequest* commit = request.add_commits();
    commit->set_request_id(sent() + 1);
    commit->set_write_set(transaction.write_set);
    {
      const std::lock_guard lock(mutex);
      transactions_.push_back(std::move(transaction));
    }
    if (!stream->Write(request)) break;
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return broken || told == sent(); });
  }
  context.TryCancel();
  reader.join();
  (void)stream->Finish();
  return wrong;
}

std::string Load::Read(proto::Storage::Stub* storage, Lsn read_lsn, State* state) const {
  for (const Space space : {Space::kRow, Space::kEntry}) {
    grpc::ClientContext context;
    SetDeadline(&context, kReplySecondsMax);
    proto::ScanRequest request;
    request.set_read_lsn(read_lsn);
    request.set_wait_ms(30000);
    std::string lower;
    AppendBe64(&lower, Prefix(space, 0));
    request.set_lower(lower);
    const auto stream = storage->Scan(&context, request);
    proto::ScanReply reply;
    while (stream->Read(&reply)) {
      for (const proto::Entry& entry : reply.entries()) (*state)[entry.key()] = entry.value();
    }
    const grpc::Status status = stream->Finish();
    if (!status.ok()) return "scan: " + status.error_message();
  }
  return {};
}

std::string Load::Check(const std::string& address, uint64_t least, const std::function<bool()>& alive) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(kReadySecondsMax);
  // A channel that finds nobody at first takes its time before it looks again.
  while (!Listens(SocketPath(address))) {
    if (!alive()) return "concordd has ended";
    if (std::chrono::steady_clock::now() > deadline) return "concordd does not listen";
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  const auto channel = Connect(address);
  const auto adjudicator = proto::Adjudicator::NewStub(channel);
  const auto storage = proto::Storage::NewStub(channel);
  grpc::Status status;
  proto::ReadLsnReply reply;
  for (;;) {
    grpc::ClientContext context;
    SetDeadline(&context, 5);
    status = adjudicator->ReadLsn(&context, {}, &reply);
    if (status.ok()) break;
    if (!alive()) return "concordd has ended";
    if (std::chrono::steady_clock::now() > deadline) return "no leader: " + status.error_message();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  State there;
  if (std::string wrong = Read(storage.get(), reply.committed_lsn(), &there); !wrong.empty()) return wrong;

  const auto number = there.find(RowKey(kNumber, 1));
  const uint64_t found = number == there.end() ? 0 : std::stoull(number->second);
  if (found < least)
    return "acknowledged transactions are lost: " + std::to_string(least) + " were, " + std::to_string(found) +
           " are there";
  if (found < found_ || found > sent()) return "transaction " + std::to_string(found) + " is there, which cannot be";
  State expected = base_;
  for (uint64_t i = found_; i < found; i++) {
    for (const auto& [key, value] : transactions_[i - found_].changes) {
      if (value.has_value()) {
        expected[key] = *value;
      } else {
        expected.erase(key);
      }
    }
  }
  // Tables that are not, or no more.
  std::erase_if(there, [&](const auto& row) {
    const StorageId storage = KeyStorage(row.first);
    if (storage < kFirstLoaded) return false;
    const auto first = expected.lower_bound(RowKey(storage, 0));
    return first == expected.end() || KeySpace(first->first) != Space::kRow || KeyStorage(first->first) != storage;
  });
  if (there != expected)
    return "the state is not that after transaction " + std::to_string(found) + ": " + Difference(expected, there);
  int64_t sum = 0;
  for (uint64_t account = 0; account < kAccountCount; account++) sum += Balance(there, account);
  if (sum != static_cast<int64_t>(kAccountCount) * kOpeningBalance)
    return "the sum of all accounts is " + std::to_string(sum);

  if (found > found_) last_ = transactions_[found - found_ - 1];
  found_ = found;
  read_lsn_ = reply.committed_lsn();
  transactions_.clear();
  base_ = state_ = std::move(expected);
  return CheckResend(adjudicator.get());
}

// The last transaction that is there is asked for again, by its token: it must be known, and not be done twice.
std::string Load::CheckResend(proto::Adjudicator::Stub* adjudicator) const {
  if (!last_.has_value()) return {};
  grpc::ClientContext context;
  SetDeadline(&context, kReplySecondsMax);
  const auto stream = adjudicator->Session(&context);
  proto::SessionRequest request;
  request.add_commits()->set_write_set(last_->write_set);
  proto::SessionReply reply;
  std::string wrong;
  if (!stream->Write(request) || !stream->Read(&reply) || reply.verdicts_size() != 1) {
    wrong = "no verdict for a token that was sent again";
  } else if (const proto::Verdict& verdict = reply.verdicts(0);
             verdict.outcome() != proto::OUTCOME_UNKNOWN &&  // trimmed from the journal since
             (verdict.outcome() != proto::COMMITTED || verdict.lsn() > read_lsn_)) {
    wrong = "a token that was sent again got outcome " + std::to_string(verdict.outcome()) + " " + verdict.message();
  }
  stream->WritesDone();
  (void)stream->Finish();
  return wrong;
}

}  // namespace concord::crash
