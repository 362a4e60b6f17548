// Every encoding against a comparison written from the type's definition, on random values and the edges.
#include "core/key_encoding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/bytes.h"

namespace concord {
namespace {

std::string Encode(const std::function<void(KeyWriter*)>& encode) {
  std::string out(4096, '\0');
  KeyWriter writer(reinterpret_cast<uint8_t*>(out.data()), 0, out.size());
  encode(&writer);
  EXPECT_LE(writer.size(), out.size());
  out.resize(writer.size());
  return out;
}

int Sign(int value) { return (value > 0) - (value < 0); }

class KeyEncoding : public testing::Test {
 protected:
  KeyEncoding() : seed_(std::random_device()()), random_(seed_) {}

  uint64_t Random() { return random_(); }
  uint64_t Below(uint64_t limit) { return random_() % limit; }

  // Compares all pairs: encodings order as `compare` says, none is a proper prefix of another, and inverted they order
  // the other way round.
  template <typename T>
  void CheckPairs(const std::vector<T>& values, const std::function<int(const T&, const T&)>& compare,
                  const std::function<void(KeyWriter*, const T&)>& encode) {
    std::vector<std::string> plain, inverted;
    for (const T& value : values) {
      plain.push_back(Encode([&](KeyWriter* key) { encode(key, value); }));
      inverted.push_back(Encode([&](KeyWriter* key) {
        encode(key, value);
        key->Invert(0);
      }));
    }
    for (size_t i = 0; i < values.size(); ++i) {
      for (size_t j = 0; j < values.size(); ++j) {
        const int expected = Sign(compare(values[i], values[j]));
        ASSERT_EQ(Sign(plain[i].compare(plain[j])), expected) << "seed " << seed_ << " pair " << i << ", " << j;
        ASSERT_EQ(Sign(inverted[i].compare(inverted[j])), -expected) << "seed " << seed_ << " pair " << i << ", " << j;
        if (expected != 0) {
          ASSERT_FALSE(plain[i].starts_with(plain[j])) << "seed " << seed_ << " pair " << i << ", " << j;
        }
      }
    }
  }

  std::string RandomString(const std::string& alphabet, size_t longest) {
    std::string out(Below(longest + 1), '\0');
    for (char& c : out) c = alphabet[Below(alphabet.size())];
    return out;
  }

  const uint64_t seed_;
  std::mt19937_64 random_;
};

template <typename T>
int Compare(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

TEST_F(KeyEncoding, Integers) {
  std::vector<int64_t> values = {0, 1, -1, INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, 255, 256, -256};
  for (int i = 0; i < 200; ++i) values.push_back(static_cast<int64_t>(Random()) >> Below(64));
  CheckPairs<int64_t>(values, Compare<int64_t>, [](KeyWriter* key, const int64_t& v) { EncodeInt64(key, v); });
  CheckPairs<int64_t>(
      values, [](const int64_t& a, const int64_t& b) { return Compare(int32_t(a), int32_t(b)); },
      [](KeyWriter* key, const int64_t& v) { EncodeInt32(key, static_cast<int32_t>(v)); });
  CheckPairs<int64_t>(
      values, [](const int64_t& a, const int64_t& b) { return Compare(int16_t(a), int16_t(b)); },
      [](KeyWriter* key, const int64_t& v) { EncodeInt16(key, static_cast<int16_t>(v)); });
}

// NaN equals NaN and is above everything.
template <typename T>
int CompareFloat(const T& a, const T& b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) - std::isnan(b);
  return Compare(a, b);
}

TEST_F(KeyEncoding, Floats) {
  using Limits = std::numeric_limits<double>;
  std::vector<double> values = {0.0,
                                -0.0,
                                1,
                                -1,
                                Limits::infinity(),
                                -Limits::infinity(),
                                Limits::max(),
                                Limits::min(),
                                -Limits::max(),
                                Limits::denorm_min(),
                                -Limits::denorm_min(),
                                Limits::quiet_NaN(),
                                -Limits::quiet_NaN()};
  for (int i = 0; i < 200; ++i) values.push_back(std::bit_cast<double>(Random()));
  for (int i = 0; i < 50; ++i) values.push_back((static_cast<double>(Below(2000)) - 1000) / 8);
  CheckPairs<double>(values, CompareFloat<double>, [](KeyWriter* key, const double& v) { EncodeFloat8(key, v); });

  std::vector<float> floats;
  for (int i = 0; i < 200; ++i) floats.push_back(std::bit_cast<float>(static_cast<uint32_t>(Random())));
  for (double value : {0.0, -0.0, 1.5, -1.5}) floats.push_back(static_cast<float>(value));
  floats.push_back(std::numeric_limits<float>::quiet_NaN());
  CheckPairs<float>(floats, CompareFloat<float>, [](KeyWriter* key, const float& v) { EncodeFloat4(key, v); });
}

TEST_F(KeyEncoding, Bytes) {
  const std::string alphabet(
      "\0\0\1\xFE\xFF"
      "ab ",
      8);
  std::vector<std::string> values = {"",  std::string(1, '\0'),  std::string(2, '\0'),
                                     "a", std::string("a\0", 2), "\xFF"};
  for (int i = 0; i < 200; ++i) values.push_back(RandomString(alphabet, 6));
  CheckPairs<std::string>(values, Compare<std::string>,
                          [](KeyWriter* key, const std::string& v) { EncodeBytes(key, v.data(), v.size()); });
}

TEST_F(KeyEncoding, BlankPadded) {
  std::vector<std::string> values = {"", " ", "a", "a ", "a  ", "a b", "a\t"};
  for (int i = 0; i < 150; ++i) values.push_back(RandomString("ab \t", 5));
  const auto trimmed = [](const std::string& v) { return v.substr(0, v.find_last_not_of(' ') + 1); };
  CheckPairs<std::string>(
      values, [&](const std::string& a, const std::string& b) { return Compare(trimmed(a), trimmed(b)); },
      [](KeyWriter* key, const std::string& v) { EncodeBlankPadded(key, v.data(), v.size()); });
}

TEST_F(KeyEncoding, Bits) {
  // A value is a string of '0' and '1'.
  std::vector<std::string> values = {"", "0", "1", "00000000", "000000000", "0000000", "11111111", "111111110"};
  for (int i = 0; i < 200; ++i) values.push_back(RandomString("01", 20));
  const auto packed = [](const std::string& v) {
    std::string out((v.size() + 7) / 8, '\0');
    for (size_t i = 0; i < v.size(); ++i) out[i / 8] |= static_cast<char>((v[i] == '1') << (7 - i % 8));
    return out;
  };
  CheckPairs<std::string>(
      values,
      [&](const std::string& a, const std::string& b) {
        const std::string x = packed(a), y = packed(b);
        const int bytes = memcmp(x.data(), y.data(), std::min(x.size(), y.size()));
        return bytes != 0 ? bytes : Compare(a.size(), b.size());
      },
      [&](KeyWriter* key, const std::string& v) { EncodeBits(key, packed(v).data(), v.size()); });
}

// A decimal number: sign, digits before and after the point; or one of the special ones.
struct Decimal {
  enum Kind { kNegativeInfinity, kFinite, kPositiveInfinity, kNan } kind = kFinite;
  bool negative = false;
  std::string whole, fraction;  // whole: 32 digits, fraction: 24 digits, so that they compare as strings
  bool long_form = false;
};

int CompareDecimal(const Decimal& a, const Decimal& b) {
  if (a.kind != b.kind) return Compare<int>(a.kind, b.kind);
  if (a.kind != Decimal::kFinite) return 0;
  const std::string x = a.whole + a.fraction, y = b.whole + b.fraction;
  const std::string zero(x.size(), '0');
  const int sign_a = x == zero ? 0 : a.negative ? -1 : 1, sign_b = y == zero ? 0 : b.negative ? -1 : 1;
  if (sign_a != sign_b) return Compare(sign_a, sign_b);
  return sign_a * Compare(x, y);
}

// As PostgreSQL packs it: leading and trailing zero digits stripped. The scale only shows in the header.
// With an odd scale, zero digits are left where PostgreSQL would have stripped them: they mean nothing.
std::string PackDecimal(const Decimal& v, int scale) {
  std::string out;
  if (v.kind != Decimal::kFinite) {
    AppendLe<uint16_t>(&out, v.kind == Decimal::kNan ? 0xC000 : v.kind == Decimal::kPositiveInfinity ? 0xD000 : 0xF000);
    return out;
  }
  std::vector<uint16_t> digits;
  const std::string all = v.whole + v.fraction;
  for (size_t i = 0; i < all.size(); i += 4) digits.push_back(static_cast<uint16_t>(std::stoi(all.substr(i, 4))));
  int weight = static_cast<int>(v.whole.size()) / 4 - 1;
  if (scale % 2 == 0) {
    while (!digits.empty() && digits.back() == 0) digits.pop_back();
    while (!digits.empty() && digits.front() == 0) {
      digits.erase(digits.begin());
      --weight;
    }
  }
  if (digits.empty()) weight = 0;
  if (v.long_form) {
    AppendLe<uint16_t>(&out, static_cast<uint16_t>((v.negative ? 0x4000 : 0) | scale));
    AppendLe<int16_t>(&out, static_cast<int16_t>(weight));
  } else {
    AppendLe<uint16_t>(&out, static_cast<uint16_t>(0x8000 | (v.negative ? 0x2000 : 0) | scale << 7 | (weight & 0x7F)));
  }
  for (uint16_t digit : digits) AppendLe(&out, digit);
  return out;
}

TEST_F(KeyEncoding, Numerics) {
  std::vector<Decimal> values;
  for (auto kind : {Decimal::kNegativeInfinity, Decimal::kPositiveInfinity, Decimal::kNan, Decimal::kNan}) {
    values.emplace_back().kind = kind;
  }
  for (int i = 0; i < 300; ++i) {
    Decimal v;
    const size_t whole = Below(9) * Below(5), fraction = Below(6) * Below(5);
    v.whole = std::string(32, '0');
    v.fraction = std::string(24, '0');
    const char highest = Below(4) == 0 ? '0' : '9';  // zeros are worth having
    for (size_t d = 0; d < whole; ++d) v.whole[31 - d] = static_cast<char>('0' + Below(highest - '0' + 1));
    for (size_t d = 0; d < fraction; ++d) v.fraction[d] = static_cast<char>('0' + Below(highest - '0' + 1));
    if (Below(3) == 0 && !values.empty()) {  // near an earlier value
      const Decimal& other = values[Below(values.size())];
      if (other.kind == Decimal::kFinite) v.whole = other.whole;
    }
    v.negative = Below(2);
    v.long_form = Below(2);
    values.push_back(v);
  }
  CheckPairs<Decimal>(values, CompareDecimal, [this](KeyWriter* key, const Decimal& v) {
    const std::string packed = PackDecimal(v, static_cast<int>(random_() % 60));
    ASSERT_TRUE(EncodeNumeric(key, packed.data(), packed.size()));
  });
  EXPECT_FALSE(EncodeNumeric(nullptr, "", 0));
}

TEST_F(KeyEncoding, NumericWeights) {
  std::vector<int> weights = {INT16_MIN, INT16_MAX, -64, 63, 64, -65, 0, -1, 1};
  const auto encode = [](KeyWriter* key, int weight, bool negative) {
    std::string packed;
    AppendLe<uint16_t>(&packed, negative ? 0x4000 : 0);
    AppendLe<int16_t>(&packed, static_cast<int16_t>(weight));
    AppendLe<uint16_t>(&packed, 7);
    ASSERT_TRUE(EncodeNumeric(key, packed.data(), packed.size()));
  };
  CheckPairs<int>(weights, Compare<int>, [&](KeyWriter* key, const int& w) { encode(key, w, false); });
  CheckPairs<int>(
      weights, [](const int& a, const int& b) { return Compare(b, a); },
      [&](KeyWriter* key, const int& w) { encode(key, w, true); });
}

struct Interval {
  int32_t months, days;
  int64_t microseconds;
};

TEST_F(KeyEncoding, Intervals) {
  std::vector<Interval> values = {{0, 0, 0},
                                  {1, 0, 0},
                                  {0, 30, 0},
                                  {0, 0, 30ll * 86400 * 1000000},
                                  {-1, 30, 0},
                                  {INT_MAX, INT_MAX, INT64_MAX},
                                  {INT_MIN, INT_MIN, INT64_MIN},
                                  {INT_MIN, INT_MAX, 0}};
  for (int i = 0; i < 150; ++i) {
    values.push_back({static_cast<int32_t>(Random()) >> Below(32), static_cast<int32_t>(Random()) >> Below(32),
                      static_cast<int64_t>(Random()) >> Below(64)});
  }
  const auto compare = [](const Interval& a, const Interval& b) {
    constexpr int64_t day = 86400000000ll;
    const auto split = [](const Interval& v) {
      int64_t rest = v.microseconds % day, days = v.microseconds / day;
      if (rest < 0) {
        rest += day;
        --days;
      }
      return std::pair(v.months * int64_t{30} + v.days + days, rest);
    };
    return Compare(split(a), split(b));
  };
  CheckPairs<Interval>(values, compare, [](KeyWriter* key, const Interval& v) {
    EncodeInterval(key, v.months, v.days, v.microseconds);
  });
}

struct TimeTz {
  int64_t microseconds;
  int32_t zone;
};

TEST_F(KeyEncoding, TimesWithZone) {
  std::vector<TimeTz> values = {{0, 0}, {3600000000ll, -3600}, {0, 57599}, {0, -57599}};
  for (int i = 0; i < 150; ++i) {
    values.push_back({static_cast<int64_t>(Below(25)) * 3600000000ll, static_cast<int32_t>(Below(33)) * 3600 - 57600});
  }
  CheckPairs<TimeTz>(
      values,
      [](const TimeTz& a, const TimeTz& b) {
        return Compare(std::pair(a.microseconds + a.zone * 1000000ll, a.zone),
                       std::pair(b.microseconds + b.zone * 1000000ll, b.zone));
      },
      [](KeyWriter* key, const TimeTz& v) { EncodeTimeTz(key, v.microseconds, v.zone); });
}

struct Network {
  bool v6;
  uint8_t bits;
  std::string address;  // of '0' and '1'
};

TEST_F(KeyEncoding, Networks) {
  std::vector<Network> values;
  for (int i = 0; i < 300; ++i) {
    Network v{.v6 = Below(3) == 0, .bits = 0, .address = {}};
    const size_t length = v.v6 ? 128 : 32;
    v.address.assign(length, '0');
    if (i > 10 && Below(2)) {
      const Network& other = values[Below(values.size())];
      if (other.v6 == v.v6) v.address = other.address;
    }
    for (uint64_t flips = Below(3); flips > 0; --flips) v.address[Below(length)] ^= 1;
    v.bits = static_cast<uint8_t>(Below(4) == 0 ? length : Below(length + 1));
    values.push_back(v);
  }
  const auto compare = [](const Network& a, const Network& b) {
    if (a.v6 != b.v6) return Compare(a.v6, b.v6);
    const int common = std::min(a.bits, b.bits);
    const int network = a.address.substr(0, common).compare(b.address.substr(0, common));
    if (network != 0) return network;
    if (a.bits != b.bits) return Compare(a.bits, b.bits);
    return a.address.compare(b.address);
  };
  CheckPairs<Network>(values, compare, [](KeyWriter* key, const Network& v) {
    uint8_t address[16] = {};
    for (size_t i = 0; i < v.address.size(); ++i)
      address[i / 8] |= static_cast<uint8_t>((v.address[i] == '1') << (7 - i % 8));
    EncodeNetwork(key, v.v6 ? 3 : 2, v.bits, address);
  });
}

TEST_F(KeyEncoding, OverflowKeepsATruePrefix) {
  for (int i = 0; i < 200; ++i) {
    const std::string value = RandomString(std::string("\0ab", 3), 40);
    const std::string whole = Encode([&](KeyWriter* key) { EncodeBytes(key, value.data(), value.size()); });
    uint8_t small[16];
    memset(small, 0xEE, sizeof small);
    const size_t capacity = Below(sizeof small);
    KeyWriter writer(small, 0, capacity);
    EncodeBytes(&writer, value.data(), value.size());
    ASSERT_EQ(writer.size(), whole.size()) << "seed " << seed_;
    const size_t kept = std::min(capacity, whole.size());
    ASSERT_EQ(memcmp(small, whole.data(), kept), 0) << "seed " << seed_;
    ASSERT_EQ(small[capacity], 0xEE) << "seed " << seed_;
  }
}

}  // namespace
}  // namespace concord
