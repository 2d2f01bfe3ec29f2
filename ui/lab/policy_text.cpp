// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/lab/policy_text.h"

#include "ui/widgets/format.h"

#include <QCoreApplication>

#include <algorithm>
#include <cmath>

namespace kvilt::ui {

namespace {

using api::update::PoliciesCompared;
using api::update::PolicyOutcome;

QString text(const char *words)
{
    return QCoreApplication::translate("PolicyView", words);
}

QString policyWord(const std::string &policy)
{
    return policy == "belady" ? text("optimum") : QString::fromStdString(policy);
}

QString share(double ratio)
{
    return QStringLiteral("%1 %").arg(ratio * 100, 0, 'f', 1);
}

const PolicyOutcome *find(const PoliciesCompared &compared, const std::string &policy, std::uint64_t blocks)
{
    const auto at = std::find_if(compared.outcomes.begin(), compared.outcomes.end(),
                                 [&](const PolicyOutcome &o) { return o.policy == policy && o.blocks == blocks; });
    return at == compared.outcomes.end() ? nullptr : &*at;
}

// Each once, in the order in which they come.
template <typename T, typename Of> std::vector<T> distinct(const std::vector<PolicyOutcome> &outcomes, Of of)
{
    std::vector<T> all;
    for (const PolicyOutcome &outcome : outcomes)
        if (std::find(all.begin(), all.end(), of(outcome)) == all.end())
            all.push_back(of(outcome));
    return all;
}

QString sentenceOf(const PoliciesCompared &c)
{
    QString words = text("%1 since the model was loaded asked for %2.")
                        .arg(count(c.requests, text("prompt"), text("prompts")),
                             count(c.promptBlocks, text("full block"), text("full blocks")));
    const PolicyOutcome *now = find(c, c.policy, c.capacity), *best = find(c, "belady", c.capacity);
    if (!now || !best)
        return words;
    if (now->evictions == 0)
        return words + QLatin1Char(' ') +
               text("In a pool of %1 nothing had to go, so every policy finds the same %2. Smaller pools show where they differ.")
                   .arg(count(c.capacity, text("block"), text("blocks")), share(now->hitRatio));
    return words + QLatin1Char(' ') +
           text("With %1, %2 finds %3 of them in memory; the optimum, which knows what comes, would find %4, a pool without end %5.")
               .arg(count(c.capacity, text("block"), text("blocks")), policyWord(c.policy), share(now->hitRatio),
                    share(best->hitRatio), share(c.unlimitedHitRatio));
}

} // namespace

PolicyText policyText(const PoliciesCompared &compared)
{
    PolicyText out;
    if (!compared.problem.empty()) {
        out.sentence = QString::fromStdString(compared.problem);
        return out;
    }
    out.sentence = sentenceOf(compared);
    const auto policies = distinct<std::string>(compared.outcomes, [](const auto &o) { return o.policy; });
    const auto sizes = distinct<std::uint64_t>(compared.outcomes, [](const auto &o) { return o.blocks; });
    out.columns << text("Policy");
    for (const std::uint64_t size : sizes)
        out.columns << count(size, text("block"), text("blocks"));
    out.columns << text("Evictions") << text("Wanted again");
    for (const std::string &policy : policies) {
        QStringList row{policyWord(policy)};
        for (const std::uint64_t size : sizes) {
            const PolicyOutcome *outcome = find(compared, policy, size);
            row << (outcome ? share(outcome->hitRatio) : QStringLiteral("–"));
        }
        const PolicyOutcome *now = find(compared, policy, compared.capacity);
        row << (now ? grouped(now->evictions) : QStringLiteral("–")) << (now ? grouped(now->regretted) : QStringLiteral("–"));
        if (policy == compared.policy)
            out.currentRow = int(out.rows.size());
        out.rows.push_back(row);
    }
    return out;
}

} // namespace kvilt::ui
