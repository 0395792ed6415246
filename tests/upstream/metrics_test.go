package upstream

import (
	"fmt"
	"sort"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

type series struct {
	value   float64
	count   float64
	sum     float64
	buckets map[string]float64
}

// gather reads all of LiveKit's metrics, by name and labels.
func gather() map[string]series {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		panic(err)
	}
	all := map[string]series{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "livekit_") {
			continue
		}
		for _, metric := range family.GetMetric() {
			all[named(family.GetName(), metric)] = read(metric)
		}
	}
	return all
}

func named(name string, metric *dto.Metric) string {
	var labels []string
	for _, label := range metric.GetLabel() {
		if label.GetName() != "node_id" && label.GetName() != "node_type" {
			labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
		}
	}
	sort.Strings(labels)
	return name + "{" + strings.Join(labels, ",") + "}"
}

func read(metric *dto.Metric) series {
	if histogram := metric.GetHistogram(); histogram != nil {
		buckets := map[string]float64{}
		for _, bucket := range histogram.GetBucket() {
			buckets[fmt.Sprint(bucket.GetUpperBound())] = float64(bucket.GetCumulativeCount())
		}
		return series{
			count:   float64(histogram.GetSampleCount()),
			sum:     histogram.GetSampleSum(),
			buckets: buckets,
		}
	}
	return series{value: metric.GetCounter().GetValue() + metric.GetGauge().GetValue()}
}

// changes returns the differences of the series that changed.
func changes(before, after map[string]series) map[string]any {
	changed := map[string]any{}
	for name, now := range after {
		then := before[name]
		if now.buckets == nil {
			if now.value != then.value {
				changed[name] = now.value - then.value
			}
			continue
		}
		if now.count == then.count {
			continue
		}
		buckets := map[string]float64{}
		for bound, count := range now.buckets {
			buckets[bound] = count - then.buckets[bound]
		}
		changed[name] = map[string]any{
			"count": now.count - then.count, "sum": now.sum - then.sum, "buckets": buckets,
		}
	}
	return changed
}
