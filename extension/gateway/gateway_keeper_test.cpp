// What the gateway does by itself: drops, reports of readers, the status.
#include <fcntl.h>
#include <sys/mman.h>

#include "gateway/gateway_test_util.h"

namespace concord {
namespace {

using namespace gateway_test;

TEST_F(GatewayTest, ManyDropsAreAllSentBeforeTheChannelIsIdle) {
  constexpr uint32_t kDrops = 20000;
  StartServer();
  StartGateway();
  AwaitConnected();
  for (uint32_t id = 1; id <= kDrops; id++) ASSERT_TRUE(cc_channel_drop_storage(channel(), id));
  EXPECT_TRUE(Eventually([this] { return cc_channel_idle(channel()); }));
  EXPECT_EQ(adjudicator_.drops(), kDrops);
}

// Tokens are remembered for so many commits: what was seen before them cannot be told from a commit that is forgotten.
TEST_F(GatewayTest, DropsGoOnWhenTheSessionIsOld) {
  StartServer();
  StartGateway();
  AwaitConnected();
  std::atomic<uint64_t> floor = 0;
  std::set<std::string> undecided;  // as an adjudicator does, by token
  adjudicator_.Follow([&](const proto::CommitRequest& commit, proto::Verdict* verdict) {
    WriteSetView view;
    EXPECT_TRUE(WriteSetView::Parse(commit.write_set(), &view).ok());
    const std::string token(view.token().begin(), view.token().end());
    if (view.read_lsn() >= floor && !undecided.contains(token)) return adjudicator_.Decide(commit.write_set(), verdict);
    undecided.insert(token);
    verdict->set_outcome(proto::OUTCOME_UNKNOWN);
    return true;
  });
  adjudicator_.last_lsn = 1000;
  floor = 900;
  for (uint32_t id = 1; id <= 3; id++) {
    ASSERT_TRUE(cc_channel_drop_storage(channel(), id));
    EXPECT_TRUE(Eventually([this] { return cc_channel_idle(channel()); }));
    EXPECT_EQ(adjudicator_.drops(), id);
    // A drop that is on its way when all that is known is forgotten.
    adjudicator_.last_lsn += 1000;
    floor += 1000;
  }
  adjudicator_.Follow({});
}

TEST_F(GatewayTest, DropsAbandonsReadersAndPage) {
  StartGateway();
  for (uint32_t id = 1; id <= 150; id++) ASSERT_TRUE(cc_channel_drop_storage(channel(), id));
  Put(2, CC_REQ_ABANDON, "0123456789abcdef");
  cc_channel_set_read_lsn(channel(), 5, 77);
  StartServer();
  EXPECT_TRUE(Eventually([this] { return adjudicator_.drops() == 150; }));
  EXPECT_TRUE(Eventually([this] { return adjudicator_.abandons == 1; }));
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 77; }));
  // Nobody vouches for the page, so it is offered again and again.
  EXPECT_TRUE(Eventually([this] { return adjudicator_.offers >= 3; }));
}

// A reader that begins between two reports must find its versions, however long the gateway takes for the next one.
TEST_F(GatewayTest, WithoutReadersTheNewestLsnIsReported) {
  const int fd = open(page_path_.c_str(), O_RDWR);
  auto* page = static_cast<LsnPage*>(mmap(nullptr, kLsnPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  close(fd);
  ASSERT_NE(page, MAP_FAILED);
  page->committed = 500;
  page->lease_until_us = BoottimeUs() + 3'600'000'000;
  page->magic = kLsnPageMagic;
  StartServer();
  StartGateway();
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 500; }));
  cc_channel_set_read_lsn(channel(), 5, 77);
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 77; }));
  cc_channel_set_read_lsn(channel(), 5, 0);
  page->committed = 501;
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 501; }));
  page->lease_until_us = 0;  // nobody vouches for it
  // Who asks for the newest one registers it later than that, and has to find its versions.
  adjudicator_.last_lsn = 600;
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 600; }));
  adjudicator_.last_lsn = 700;
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 700; }));
  cc_channel_set_read_lsn(channel(), 5, 650);
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 650; }));
  munmap(page, kLsnPageSize);
}

TEST_F(GatewayTest, ReportsThatFailAreToldOnceForEachReason) {
  const auto told = [this] {
    cc_gateway_drain_log(gateway_);
    return std::count_if(logged.begin(), logged.end(), [this](const std::string& line) {
      return line == "could not report read LSNs to storage at \"" + address_ + "\": scripted failure";
    });
  };
  const auto await_reports = [this](int more) {
    const int before = storage_.reports;
    EXPECT_TRUE(Eventually([&] { return storage_.reports >= before + more; }));
  };
  logged.clear();
  storage_.fail = true;
  StartServer();
  StartGateway();
  await_reports(4);
  EXPECT_EQ(told(), 1);
  storage_.fail = false;
  await_reports(3);
  storage_.fail = true;
  await_reports(4);
  EXPECT_EQ(told(), 2);
}

TEST_F(GatewayTest, StatusNamesEachPart) {
  StartServer();
  StartGateway();
  AwaitConnected();
  Put(0, CC_REQ_STATUS, "");
  const CcAnswer answer = Await(0);
  ASSERT_EQ(answer.outcome, CC_COMMITTED);
  const std::string text(cc_channel_text(channel(), 0), answer.text_size);
  EXPECT_NE(text.find("gateway.connected=1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("adjudicator.epoch=7\n"), std::string::npos) << text;
  EXPECT_NE(text.find("journal.error="), std::string::npos) << text;
}

}  // namespace
}  // namespace concord
