// SPDX-License-Identifier: Apache-2.0

package kibana

// state is the panel as an aggregation-based visualisation: chart, aggregations, options.
func (p *panel) state() map[string]any {
	var aggs []any
	add := func(id, agg, schema string, params map[string]any) {
		aggs = append(aggs, map[string]any{"id": id, "enabled": true, "type": agg, "schema": schema, "params": params})
	}
	for i, m := range p.metrics {
		params := map[string]any{"customLabel": m.label}
		if m.field != "" {
			params["field"] = m.field
		}
		if m.percents != nil {
			params["percents"] = m.percents
		}
		add(metricID(i), m.agg, "metric", params)
	}
	for i, b := range p.buckets {
		schema := "segment" // along the axis
		switch {
		case p.kind == table:
			schema = "bucket"
		case i > 0:
			schema = "group" // side by side or stacked
		}
		params := map[string]any{"field": b.field, "customLabel": b.label}
		if b.agg == "date_histogram" {
			params["interval"], params["min_doc_count"], params["drop_partials"], params["useNormalizedEsInterval"] = "auto", 1, false, true
			params["extended_bounds"] = map[string]any{}
		} else {
			params["size"], params["order"], params["orderBy"] = b.size, "desc", metricID(0)
			params["otherBucket"], params["missingBucket"] = false, false
		}
		add(bucketID(i), b.agg, schema, params)
	}
	return map[string]any{"title": p.title, "type": string(p.kind), "aggs": aggs, "params": p.options()}
}

func (p *panel) options() map[string]any {
	switch p.kind {
	case number:
		return map[string]any{"type": "metric", "addTooltip": true, "addLegend": false, "metric": map[string]any{
			"percentageMode": false, "useRanges": false, "colorSchema": "Green to Red", "metricColorMode": "None", "invertColors": false,
			"colorsRange": []any{map[string]any{"from": 0, "to": 10000}}, "labels": map[string]any{"show": true},
			"style": map[string]any{"bgFill": "#000", "bgColor": false, "labelColor": false, "subText": "", "fontSize": 32}}}
	case table:
		return map[string]any{"perPage": 10, "showPartialRows": false, "showMetricsAtAllLevels": false, "showTotal": false, "totalFunc": "sum",
			"percentageCol": "", "showToolbar": true, "autoFitRowToContent": false}
	}
	return p.chart()
}

// chart are the options of bars: one category axis, one value axis, one series for each metric.
func (p *panel) chart() map[string]any {
	category, value, mode := "bottom", "left", "stacked"
	if p.kind == ranks {
		category, value = "left", "bottom"
	}
	shape := "histogram"
	var series []any
	for i, m := range p.metrics {
		if m.agg == "percentiles" { // neither may be added up
			shape, mode = "line", "normal"
		}
		series = append(series, map[string]any{"show": true, "type": shape, "mode": mode, "data": map[string]any{"id": metricID(i), "label": m.label},
			"valueAxis": "ValueAxis-1", "interpolate": "linear", "drawLinesBetweenPoints": true, "lineWidth": 2, "showCircles": true, "circlesRadius": 1})
	}
	labels := func(truncate int) map[string]any {
		return map[string]any{"show": true, "rotate": 0, "filter": true, "truncate": truncate}
	}
	return map[string]any{
		"type": "histogram", "grid": map[string]any{"categoryLines": false},
		"categoryAxes": []any{map[string]any{"id": "CategoryAxis-1", "type": "category", "position": category, "show": true, "style": map[string]any{},
			"scale": map[string]any{"type": "linear"}, "labels": labels(200), "title": map[string]any{}}},
		"valueAxes": []any{map[string]any{"id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": value, "show": true, "style": map[string]any{},
			"scale": map[string]any{"type": "linear", "mode": "normal"}, "labels": labels(100), "title": map[string]any{"text": p.metrics[0].label}}},
		"seriesParams": series, "addTooltip": true, "detailedTooltip": true, "addLegend": len(p.buckets) > 1 || mode == "normal", "legendPosition": "right",
		"truncateLegend": true, "maxLegendLines": 1, "palette": map[string]any{"type": "palette", "name": "default"}, "times": []any{}, "addTimeMarker": false,
		"labels": map[string]any{"show": false}, "radiusRatio": 0,
		"thresholdLine": map[string]any{"show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
	}
}
