// The n-gram baseline: its words, its fit, its folds, and mpq baseline as a user meets it.
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "data/ngrams.h"
#include "tests/run_mpq.h"
#include "train/cross_fit.h"
#include "train/liblinear.h"
#include "train/nb_logistic.h"
#include "train/ngram_classifier.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

Strings words_of(const std::string& text) {
  Strings words;
  for_each_word_of(text, [&](const std::string& word) { words.push_back(word); });
  return words;
}

TEST(Words, LowerCaseWithPunctuationApart) {
  EXPECT_EQ(words_of("Don't STOP, rock'n'roll!"), (Strings{"don't", "stop", ",", "rock'n'roll", "!"}));
  EXPECT_EQ(words_of("'quoted' caf\u00e9"), (Strings{"'", "quoted", "'", "cafe"}));
  EXPECT_EQ(words_of("end.<br /><br />next<br>x<b>"), (Strings{"end", ".", "next", "x", "<", "b", ">"}));
  EXPECT_EQ(words_of(" \t"), Strings{});
}

TEST(Ngrams, ThoseOfEnoughTexts) {
  const Strings texts{"not very good", "not very bad", "very very good"};
  const Ngrams ngrams(texts, 3, 2);
  Strings found;
  for (int64_t f = 0; f < ngrams.feature_count(); ++f) found.push_back(ngrams.text_of(f));
  EXPECT_EQ(found, (Strings{"good", "not", "very", "not very", "very good"}));
  const SparseRows rows = ngrams.features_of(Strings{"very good", "unseen", "good not very unseen very good good"});
  EXPECT_EQ(rows.starts, (std::vector<int64_t>{0, 3, 3, 8}));
  EXPECT_EQ(rows.features, (std::vector<int32_t>{0, 2, 4, 0, 1, 2, 3, 4}));
  EXPECT_EQ(Ngrams(texts, 1, 1).feature_count(), 4);
  EXPECT_EQ(Ngrams(texts, 3, 1).feature_count(), 4 + 4 + 3);
  EXPECT_THROW(Ngrams(texts, 3, 4), UserError);
}

TEST(Ngrams, DamagedOnesAreRefused) {
  const Strings words{"a", "b"};
  const auto load = [&](Strings w, std::vector<int64_t> keys, int order = 2) { return Ngrams(w, keys, order, "file"); };
  EXPECT_EQ(load(words, {1, 2, 1 << 21 | 2}).text_of(2), "a b");
  EXPECT_THROW(load({"b", "a"}, {1}), UserError);
  EXPECT_THROW(load(words, {}), UserError);
  EXPECT_THROW(load(words, {2, 1}), UserError);
  EXPECT_THROW(load(words, {1, 1}), UserError);
  for (const int64_t key : {int64_t{0}, int64_t{3}, int64_t{-1}, int64_t{1} << 21, int64_t{3} << 21 | 1})
    EXPECT_THROW(load(words, {key}), UserError) << key;
  EXPECT_THROW(load(words, {1}, 4), UserError);
}

// 60 rows of 12 features, whose first three say something about the label.
struct Toy {
  SparseRows x;
  std::vector<int8_t> signs;
  std::vector<int64_t> rows;
  static constexpr int kFeatures = 12;

  Toy() {
    uint32_t state = 1;
    const auto coin = [&](uint32_t in) { return ((state = state * 1664525 + 1013904223) >> 8) % in == 0; };
    for (int64_t r = 0; r < 60; ++r) {
      signs.push_back(r % 3 ? 1 : -1);
      for (int32_t f = 0; f < kFeatures; ++f)
        if (coin(f < 3 && (r % 3 == f) ? 2 : 5)) x.features.push_back(f);
      x.starts.push_back(static_cast<int64_t>(x.features.size()));
      rows.push_back(r);
    }
  }
};

// |gradient| of 1/2 |w|^2 + c sum log(1 + exp(-y w x)), the bias a weight like the others.
double gradient_norm(const Toy& toy, const std::vector<double>& scale, double c, const LogisticSolution& at) {
  std::vector<double> g = at.weights;
  g.push_back(at.bias);
  for (int64_t r : toy.rows) {
    double sum = at.bias;
    for (int32_t f : toy.x.row(r)) sum += at.weights[f] * scale[f];
    const double y = toy.signs[r], slope = -c * y / (1 + std::exp(y * sum));
    for (int32_t f : toy.x.row(r)) g[f] += slope * scale[f];
    g.back() += slope;
  }
  return std::sqrt(std::inner_product(g.begin(), g.end(), g.begin(), 0.0));
}

TEST(Liblinear, FindsTheMinimumOfTheObjective) {
  const Toy toy;
  std::vector<double> scale(Toy::kFeatures);
  std::iota(scale.begin(), scale.end(), -4.5);
  for (const double c : {0.1, 10.0}) {
    const LogisticSolution zero{std::vector<double>(Toy::kFeatures), 0};
    const LogisticSolution found = solve({toy.x, toy.rows, toy.signs, scale, c});
    EXPECT_LT(gradient_norm(toy, scale, c, found), 0.02 * gradient_norm(toy, scale, c, zero)) << c;
    std::vector<int8_t> other(toy.signs);  // whichever sign the first row has
    for (int8_t& s : other) s = static_cast<int8_t>(-s);
    const LogisticSolution mirrored = solve({toy.x, toy.rows, other, scale, c});
    for (int f = 0; f < Toy::kFeatures; ++f) EXPECT_NEAR(mirrored.weights[f], -found.weights[f], 0.02) << f;
    EXPECT_NEAR(mirrored.bias, -found.bias, 0.02);
  }
}

TEST(NbLogistic, AClassThatIsMissingHasItsSmoothedShare) {
  SparseRows x;
  x.starts = {0, 1, 2};
  x.features = {0, 1};
  const std::vector<int32_t> labels{1, 1};
  const std::vector<int64_t> all[] = {{0, 1}};
  const auto model = fit_nb_logistic({x, 2, labels, 2}, all, 1)[0];
  const std::vector<double> p = model.probabilities(x.row(0));
  EXPECT_NEAR(p[1], 0.75, 1e-6);
  EXPECT_NEAR(p[0] + p[1], 1, 1e-12);
}

TEST(CrossFit, NoModelSeesTheGroupOrTheTextOfItsRows) {
  std::vector<uint64_t> groups, texts;
  for (uint64_t r = 0; r < 300; ++r) groups.push_back(r % 40), texts.push_back(r % 50 == 0 ? 7 : 1000 + r);
  const Folds folds = make_folds(groups, texts, 4);
  for (int f = 0; f < 4; ++f) {
    std::set<uint64_t> held_groups, held_texts;
    int64_t held = 0;
    for (size_t r = 0; r < groups.size(); ++r)
      if (folds.fold_of_row[r] == f) held_groups.insert(groups[r]), held_texts.insert(texts[r]), ++held;
    EXPECT_NEAR(static_cast<double>(held), 75, 10);
    EXPECT_GE(folds.others[f].size() + held, groups.size() - 6);
    for (int64_t r : folds.others[f]) {
      EXPECT_FALSE(held_groups.contains(groups[r]));
      EXPECT_FALSE(held_texts.contains(texts[r]));
    }
  }
  EXPECT_THROW(make_folds(groups, texts, 41), UserError);
}

TEST(SoftLabels, SurviveAFileAndDamageIsNamed) {
  const TemporaryFolder folder;
  const fs::path path = folder / "p.tsv";
  const SoftLabels labels{{"neg", "pos"}, {{"train", 0xabcdefull, {0.25f, 0.75f}}, {"test", ~0ull, {1, 0}}}};
  write_soft_labels(path, labels);
  const SoftLabels read = read_soft_labels(path);
  EXPECT_EQ(read.label_names, labels.label_names);
  ASSERT_EQ(read.rows.size(), 2u);
  EXPECT_EQ(read.rows[0].p, labels.rows[0].p);
  EXPECT_EQ(read.rows[1].text, ~0ull);
  const std::string header = "split\ttext\tneg\tpos\n", hash = "train\t0000000000000001\t";
  for (const std::string& bad :
       {std::string(), std::string("split\ttext\tneg\n"), header, header + hash + "0.5\n", header + hash + "0.9\t0.9\n",
        header + hash + "-1\t2\n", header + hash + "nan\t1\n", header + "train\t1\t0.5\t0.5\n"}) {
    write_file_atomic(path, bad);
    EXPECT_THROW(read_soft_labels(path), UserError) << bad;
  }
}

class BaselineTest : public RunMpq {
 protected:
  // Reviews of 30 films; each film has a word of its own and, by chance, mostly one label, which therefore fits the
  // training rows and says nothing about other films. "good" and "bad" do.
  void write_films() {
    std::string train = "film\tlabel\ttext\n", unlabelled = train;
    for (int i = 0; i < 300; ++i) {
      const int film = i % 30, label = (i * 7 / 3 + i / 30) % 3;
      const char* word = label == 0 ? "awful" : label == 1 ? "fair" : "superb";
      train += fmt::format("film{}\t{}\tthe title{} was {} number{}\n", film, label, film, i % 4 ? word : "seen", i);
      unlabelled += fmt::format("film{}\tnone\tunseen title{} {} number{}\n", film, film, word, i);
    }
    fs::create_directories(path("films"));
    write_file_atomic(path("films/train.tsv"), train);
    write_file_atomic(path("films/unlabelled.tsv"), unlabelled);
  }
  // What a word says is only in the unlabelled reviews, by what the teacher says of them.
  void write_opinions() {
    std::string train = "film\tlabel\ttext\n", test = train, unlabelled = train;
    std::string opinions = "split\ttext\tpos\tneg\n";  // classes in another order
    const auto say = [&](const char* split, const std::string& text, double pos) {
      opinions += fmt::format("{}\t{:016x}\t{:.6f}\t{:.6f}\n", split, hash64(text), pos, 1 - pos);
    };
    for (int i = 0; i < 200; ++i) {
      const bool pos = i % 2;
      const std::string known = fmt::format("neither superb nor awful {}", i),
                        unknown = fmt::format("{} number {}", pos ? "superb" : "awful", i);
      train += fmt::format("{}\t{}\t{}\n", i, i % 4 < 2 ? "pos" : "neg", known);
      say("train", known, 0.5);
      unlabelled += fmt::format("{}\t?\t{}\n", i, unknown);
      say("unlabelled", unknown, pos ? 0.9 : 0.1);
      test += fmt::format("{}\t{}\t{} number {}\n", i, pos ? "pos" : "neg", pos ? "superb" : "awful", i + 1000);
    }
    fs::create_directories(path("set"));
    for (const auto& [name, table] : {std::pair{"train", &train}, {"test", &test}, {"unlabelled", &unlabelled}})
      write_file_atomic(path("set") / (std::string(name) + ".tsv"), *table);
    write_file_atomic(path("opinions.tsv"), opinions);
  }

  const std::string student_ =
      "--data {}/set --group-column film --tokenizer sentencepiece:200 --model 1,32,2,32 --max-tokens 16 --lr 2e-3 "
      "--epochs 8 ";
};

TEST_F(BaselineTest, TheSameForAnyThreads) {
  const std::string options = "baseline --json --data synthetic --rows 600 --out {}/";
  const Outcome one = mpq(options + "one --threads 1"), two = mpq(options + "two --threads 2");
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(one.result().at("test_accuracy"), two.result().at("test_accuracy"));
  for (const char* name : {"/model.safetensors", "/probabilities.tsv", "/words.txt", "/baseline.json"})
    EXPECT_TRUE(file(std::string("one") + name) == file(std::string("two") + name)) << name;
  EXPECT_GT(one.result().at("test_accuracy"), 0.6);
  EXPECT_LE(one.result().at("test_low"), one.result().at("test_accuracy"));
}

TEST_F(BaselineTest, KeepsProbabilitiesOfEveryRow) {
  write_films();
  const Outcome run = mpq("baseline --json --data {}/films --group-column film --min-count 2 --valid 0 --out {}/model");
  ASSERT_EQ(run.code, 0) << run.err;
  const SoftLabels labels = read_soft_labels(path("model/probabilities.tsv"));
  EXPECT_EQ(labels.label_names, (Strings{"0", "1", "2"}));
  EXPECT_EQ(labels.rows.size(), 600u);
  // A quarter of the rows says nothing; with the films' words or numbers learnt by heart it would be more.
  EXPECT_NEAR(run.result().at("cross_fitted_accuracy"), 0.75 + 0.25 / 3, 0.07);
  int unlabelled = 0;
  for (const auto& row : labels.rows) unlabelled += row.split == "unlabelled";
  EXPECT_EQ(unlabelled, 300);

  write_file_atomic(path("text"), "unseen title0 awful number0\n");
  const Outcome predicted = mpq("predict --json --checkpoint {}/model --in {}/text");
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_EQ(predicted.result().at("label"), "0");
  const auto p = predicted.result().at("probabilities");
  const auto row = labels.first_row_of_text().at(hash64("unseen title0 awful number0"));
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(p[c].get<double>(), labels.rows[row].p[c], 1e-5);
}

TEST_F(BaselineTest, ReportsShowItOnceItIsKnown) {
  const std::string train = "train --json --data synthetic --rows 160 --model 1,16,2,32 --max-tokens 32 --epochs 0";
  EXPECT_TRUE(mpq(train).result().at("baseline_test_accuracy").is_null());
  const Outcome run = mpq("baseline --json --data synthetic --rows 160");
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(mpq(train).result().at("baseline_test_accuracy"), run.result().at("test_accuracy"));
  EXPECT_TRUE(mpq(train + " --valid 0.3").result().at("baseline_test_accuracy").is_null());
  const Outcome search = mpq(
      "search --family integer --data synthetic --rows 160 --model 1,16,2,32 --max-tokens 32 --trials 1 --out {}/s");
  ASSERT_EQ(search.code, 0) << search.err;
  EXPECT_NE(file("s/table.tsv").find("n-gram baseline\t"), std::string::npos);
  EXPECT_NE(search.out.find("n-gram baseline: validation 0."), std::string::npos) << search.out;
}

TEST_F(BaselineTest, AStudentLearnsFromUnlabelledRows) {
  write_opinions();
  const std::string command = "train --json " + student_;
  const Outcome taught = mpq(command + "--teacher {}/opinions.tsv --teacher-share 1 --out {}/taught");
  ASSERT_EQ(taught.code, 0) << taught.err;
  EXPECT_GT(taught.result().at("test_accuracy"), 0.85);
  const Outcome alone = mpq(command + "--teacher {}/opinions.tsv --labelled-only");
  ASSERT_EQ(alone.code, 0) << alone.err;
  EXPECT_LT(alone.result().at("test_accuracy"), 0.7);

  // A checkpoint as the teacher of another one.
  const std::string shorter = command.substr(0, command.find("--tokenizer")) +
                              "--tokenizer {}/taught --model 1,16,2,32 --max-tokens 16 --lr 2e-3 --epochs 8 ";
  const Outcome distilled = mpq(shorter + "--teacher {}/taught --teacher-share 1");
  ASSERT_EQ(distilled.code, 0) << distilled.err;
  EXPECT_GT(distilled.result().at("test_accuracy"), 0.85);

  // Teachers of other classes, of other rows, none at all.
  write_file_atomic(path("classes.tsv"), "split\ttext\tpos\tneutral\ntrain\t0000000000000001\t0.5\t0.5\n");
  write_file_atomic(path("rows.tsv"), "split\ttext\tpos\tneg\ntrain\t0000000000000001\t0.5\t0.5\n");
  for (const auto& [teacher, complaint] : {std::pair{"classes.tsv", "knows the classes pos, neutral"},
                                           {"rows.tsv", "says nothing of 160 of the 160"},
                                           {"nowhere", "nowhere"}}) {
    const Outcome outcome = mpq(command + "--teacher {}/" + teacher);
    EXPECT_EQ(outcome.code, 2) << teacher;
    EXPECT_NE(outcome.err.find(complaint), std::string::npos) << outcome.err;
  }
}

TEST_F(BaselineTest, AStudentKilledAndResumedEndsWithTheSameBits) {
  write_opinions();
  const std::string taught = "train " + student_ + "--checkpoint-every 20 --teacher {}/opinions.tsv ";
  ASSERT_EQ(mpq(taught + "--out {}/whole").code, 0);
  const auto begun = [this] { return fs::exists(path("killed/training_state.json")); };
  const Outcome killed = interrupt(start(taught + "--out {}/killed"), SIGKILL, begun);
  ASSERT_EQ(killed.code, 128 + SIGKILL) << killed.err;
  const Outcome other = mpq("train " + student_ + "--checkpoint-every 20 --out {}/killed --resume");
  EXPECT_EQ(other.code, 2) << "without its teacher";
  const Outcome resumed = mpq(taught + "--out {}/killed --resume");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(file("whole/model.safetensors") == file("killed/model.safetensors"));
}

TEST_F(BaselineTest, WhatCannotBeDoneSaysSo) {
  for (const char* bad :
       {"--ngrams 4", "--min-count 0", "--c 0", "--folds 1", "--min-count 100000", "--data nowhere"}) {
    const Outcome outcome = mpq("baseline --data synthetic --rows 100 " + std::string(bad));
    EXPECT_EQ(outcome.code, 2) << bad << outcome.err;
    EXPECT_NE(outcome.err.find("hint: "), std::string::npos) << bad << outcome.err;
  }
  write_file_atomic(path("taken"), "mine");
  EXPECT_EQ(mpq("baseline --data synthetic --rows 100 --out {}/taken").code, 2);
  ASSERT_EQ(mpq("baseline --data synthetic --rows 100 --out {}/model").code, 0);
  write_file_atomic(path("model/words.txt"), "z\na\n");
  write_file_atomic(path("text"), "good\n");
  EXPECT_EQ(mpq("predict --checkpoint {}/model --in {}/text").code, 2);
}

}  // namespace
}  // namespace mpq
