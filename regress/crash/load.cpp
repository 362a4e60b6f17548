#include "regress/crash/load.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

constexpr StorageId kAccounts = 1, kNumber = 2, kHistory = 3;
constexpr uint64_t kAccountCount = 200;
constexpr int64_t kOpeningBalance = 1000;
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

Load::Transaction Load::Next() {
  Transaction out;
  for (uint8_t& byte : out.token) byte = static_cast<uint8_t>(random_());
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
  changes[RowKey(kHistory, number)] = std::string(sizes[random_() % 4], static_cast<char>('a' + number % 26));
  if (number > 50) changes[RowKey(kHistory, number - 1 - random_() % 50)] = std::nullopt;
  // Nothing is told to the storage about a key that is not there.
  std::erase_if(changes,
                [&](const auto& change) { return !change.second.has_value() && !state_.contains(change.first); });

  std::string mutations;
  uint32_t count = 0;
  const bool staged = random_() % 8 == 0;
  for (const auto& [key, value] : changes) {
    AppendMutation(&mutations, value.has_value() ? MutationOp::kPut : MutationOp::kDelete, key, value.value_or(""));
    count++;
    if (staged && random_() % 2 == 0) {
      out.chunks.push_back(EncodeChunk(out.token, static_cast<uint32_t>(out.chunks.size()), 0, mutations));
      mutations.clear();
      count = 0;
    }
  }
  out.write_set =
      EncodeWriteSet(out.token, read_lsn_, static_cast<uint32_t>(out.chunks.size()), 0, "", count, mutations);
  for (const auto& [key, value] : changes) {
    if (value.has_value()) {
      state_[key] = *value;
    } else {
      state_.erase(key);
    }
  }
  return out;
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
  bool broken = false;
  std::string wrong;

  std::thread reader([&] {
    proto::SessionReply reply;
    while (stream->Read(&reply)) {
      const std::lock_guard lock(mutex);
      for (const proto::Verdict& verdict : reply.verdicts()) {
        if (verdict.request_id() == 0) continue;  // a chunk's
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
  for (size_t i = 0; i < count; i++) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return broken || sent() - told < window; });
      if (broken) break;
    }
    Transaction transaction = Next();
    proto::SessionRequest request;
    for (const std::string& chunk : transaction.chunks) request.add_chunks()->set_chunk(chunk);
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
